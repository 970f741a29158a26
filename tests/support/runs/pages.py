"""A page of a report, read without a browser."""

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "input"}


CLOSED_BY = {"style", "title"}


REFERENCES = {"src", "href", "srcset", "action", "data", "poster", "background", "formaction", "ping", "cite"}


FORBIDDEN = {"script", "iframe", "object", "embed", "form", "base", "frame", "audio", "video", "svg"}


class Page(HTMLParser):
    """Elements in order, with what is wrong in `faults`."""

    def __init__(self, text):
        super().__init__()
        self.open, self.faults, self.elements, self.ids, self.references = [], [], [], [], []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.elements.append((tag, given, tuple(self.open)))
        if tag in FORBIDDEN or any(name.startswith("on") for name in given):
            self.faults.append(f"<{tag} {sorted(given)}>")
        self.references += [given[name] for name in REFERENCES & set(given)]
        self.ids += [given["id"]] if "id" in given else []
        if len(given) != len(attributes):
            self.faults.append(f"<{tag}> repeats an attribute")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def of(self, *tags):
        return [(tag, given, within) for tag, given, within in self.elements if tag in tags]
