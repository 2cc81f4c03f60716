"""Which side the model already prefers: the scores judged, the verdict, its findings and their wording."""
