from nicegui import ui

ui.label("zoo")
ui.run(port=24680, show=False)
