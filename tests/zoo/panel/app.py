import panel as pn

pn.pane.Markdown("# zoo").servable()
