"""Policies and variants of them side by side, on fresh tasks of a distribution: is any of them better than another?"""
