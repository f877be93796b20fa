project = "zoo"
