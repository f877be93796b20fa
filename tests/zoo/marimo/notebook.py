import marimo

app = marimo.App()


@app.cell
def _():
    return ("zoo",)


if __name__ == "__main__":
    app.run()
