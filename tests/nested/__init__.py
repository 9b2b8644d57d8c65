# SPDX-License-Identifier: Apache-2.0
"""A test host with a real KVM on machines that have none.

The test host is a virtual machine under emulation. Its processor has AMD-V, so Linux's own
``kvm_amd`` makes ``/dev/kvm``. Its root file system is this machine's, read-only below a layer in
memory, so interpreter, libraries and checkout have the same paths as here. ``python -m
tests.nested`` replaces the Python interpreter and runs the interpreter's arguments in the test
host.
"""
