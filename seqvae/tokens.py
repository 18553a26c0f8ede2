"""The four ids every token modality shares."""

PAD = 0  # behind the end of a shorter sequence; has probability one, so it costs nothing
UNK = 1  # a token the codec does not know, and what word dropout writes
BOS = 2  # what a decoder reads before the first token; never in the data
EOS = 3  # the last token of a sentence; fixed windows of music have none
SPECIAL = 4  # ids below this are the four above
NAMES = ("<pad>", "<unk>", "<s>", "</s>")  # of those, for people
