"""What is done with whole songs and a model: read, morphed, travelled through, drawn, written.

In layers, each of which sees those before it: a song as a model takes it, its feel, its picture
and its sound; the way from one to another; tours, forms and journeys (their course, which phrases
are paired, what is decoded between them); what those leave on disk. Codecs and measures know
nothing of any of this.
"""
