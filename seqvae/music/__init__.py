"""What is done with whole songs and a model: read, morphed, travelled through, drawn, written.

In four layers, each of which sees those before it: a song as a model takes it, its feel, its
picture and its sound; the way from one to another; journeys, tours and forms; what those leave on
disk. Codecs and measures know nothing of any of this.
"""
