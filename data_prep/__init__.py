"""Raw files -> prepared corpora, every dropped item counted and explained."""
