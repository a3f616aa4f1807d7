"""The official metrics and what ignorance gets, as pure functions of arrays. Scores are percent."""
