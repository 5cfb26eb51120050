"""What a picture or a run shows: detectors, their combination, the search for the least level that is enough."""
