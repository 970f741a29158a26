"""Signs of collapse, as a search measures them."""


def signs(eigenvalue=None, skips=0):
    return {"eigenvalue": {"value": eigenvalue, "residual": 0.0}, "skips": {"normal": skips}}
