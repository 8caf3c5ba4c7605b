"""How the model compares with what recordings hold."""
