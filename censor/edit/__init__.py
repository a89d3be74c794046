"""The editing round: one local page on which a person moves, adds and removes what is hidden.

`editing` holds the picture, paints previews and saves; `access` decides who may see them; `server` speaks HTTP;
`command` is what `censor edit` runs. The page itself is plain HTML, CSS and JavaScript in this folder.
"""

__all__: list[str] = []
