"""What a data set holds, looked at before anything is trained: a table and a page.

`source` finds the files, `measure` looks at one image (`regions`, `gradients`, `duplicates`),
`summary` adds up, `findings` says what is wrong, `suspects` ranks images, and `table` and `page`
show it all.
"""
