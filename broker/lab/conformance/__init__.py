"""The conformance kit: does an administration's receiver, or its source, do what it must when things go wrong?"""
