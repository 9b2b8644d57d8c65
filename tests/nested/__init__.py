# SPDX-License-Identifier: Apache-2.0
"""A test host with a real KVM on machines that have none.

It is a virtual machine under emulation, whose processor has AMD-V: in it Linux's own ``kvm_amd``
gives ``/dev/kvm``. Its root file system is this machine's, read-only below a layer in memory, so
the same interpreter, libraries and checkout are there at the same paths. ``python -m tests.nested``
stands in for the interpreter: what it is given runs in there.
"""
