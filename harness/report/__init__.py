"""Pictures and a page from the results; disposable, rebuilt at will. The only room that imports matplotlib."""
