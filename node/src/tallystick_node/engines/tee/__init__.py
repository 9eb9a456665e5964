"""The software enclave: measured code in a confined process, with evidence in genuine DCAP format from a simulated platform.

SIMULATION ONLY. Interfaces, refusals and measurements are those of an enclave; protection from the operator of the machine is not
given: who is root on the host can read the process's memory. Every result says *attested, simulated*.
"""
