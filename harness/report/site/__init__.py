"""The nightly page: a static site made from the store, and from nothing else.

`data` reads the results once; each kind of page has a module that plans its pages from that (`entry`, `series_pages`,
`trial_pages`, `comparison_pages`); `build` draws those whose content is not the one that lies there already.
"""
