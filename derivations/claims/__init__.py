"""Claims about the functions that ship, one module a family. Importing one of them imports ``keras_bn``."""
