"""The servers that tests run against: started by the tests, on ports of their own, ended by process id."""
