"""What the archive consists of: the names of its files, the files of ids, and the manifests."""
