"""Descriptions of Keras models, as config.json has them: layers in order, from the input to the output."""


def layers_of(description, known, reasons: list[str]) -> list:
    """Return the layers of a description in order, as (class name, config); note what is not a chain."""
    kind, config = description["class_name"], description["config"]
    for layer in config["layers"]:
        if layer["class_name"] in known:  # the others are refused by name
            reasons += reasons_not_own(layer, repr(layer["config"]["name"]))
    found = [(layer["class_name"], dict(layer["config"])) for layer in config["layers"]]
    if kind in ("Sequential", "Functional", "Model"):
        reasons += reasons_not_own(description, "the model")
    if kind == "Sequential":
        for _, config in found:
            if config.get("return_state") or config.get("layer", {}).get("config", {}).get("return_state"):
                reasons.append(f"{config['name']!r} gives states beside its outputs (return_state=True)")
        return found
    if kind not in ("Functional", "Model"):
        reasons.append(f"it is a {kind}: Sequential and functional models are known")
        return []
    return _followed(config, reasons)


def reasons_not_own(description, where) -> list[str]:
    """Return why a class is not Keras' own, whatever its name."""
    kind, module, registered = (description.get(key) for key in ("class_name", "module", "registered_name"))
    if isinstance(module, str) and f"{module}.".startswith("keras.") and registered in (None, kind):
        return []
    return [f"{where} is not of Keras' own class {kind}"]


def _followed(config, reasons) -> list:
    """Return the layers of a functional model from its input to its output; note what is not a chain."""
    layers = {layer["config"]["name"]: layer for layer in config["layers"]}
    masks = _masks(layers)
    outputs = _history(config["output_layers"])
    if len(outputs) != 1:
        reasons.append(f"it has {len(outputs)} outputs; numbarnn has chains with one")
        return []
    order, (name, index) = [], outputs[0]
    while len(order) <= len(layers):
        layer = layers[name]
        order.insert(0, (layer["class_name"], dict(layer["config"])))
        where = f"{name!r} ({layer['class_name']})"
        if index != 0:
            reasons.append(f"{where}: its output {index} is taken, which is a state")
        nodes = layer["inbound_nodes"]
        if len(nodes) > 1:
            reasons.append(f"{where} is used {len(nodes)} times; numbarnn has chains of layers")
            return []
        if not nodes:
            break
        inputs, more = _tensors(nodes[0]["args"]), nodes[0].get("kwargs", {})
        others = [other for other, _ in _tensors(more) if other not in masks]
        if more.get("training"):
            reasons.append(f"{where} is called with training={more['training']!r}")
        if len(inputs) != 1 or others:
            reasons.append(f"{where} has {len(inputs) + len(others)} inputs; numbarnn has chains of layers")
            return []
        name, index = inputs[0]
    left = [name for name in layers if name not in masks and name not in {config["name"] for _, config in order}]
    if left:
        reasons.append(f"layers beside the chain: {', '.join(map(repr, left))}")
    return order


def _masks(layers) -> set:
    """Return the operations that compute the mask of a Masking or Embedding layer of a functional model."""
    made, masks = [], set()
    for layer in layers.values():
        kind, config = layer["class_name"], layer["config"]
        if kind == "Masking" or (kind == "Embedding" and config.get("mask_zero")):
            made += [(_tensors(node["args"]), config.get("mask_value", 0), kind) for node in layer["inbound_nodes"]]
    compared = {}
    for name, layer in layers.items():
        if layer["class_name"] == "NotEqual" and not reasons_not_own(layer, name):
            (node,) = layer["inbound_nodes"]
            inputs, (_, value) = _tensors(node["args"]), node["args"]
            kinds = {kind for given, mask, kind in made if given == inputs and mask == value}
            compared |= {name: kinds} if kinds else {}
            masks |= {name} if kinds else set()
    for name, layer in layers.items():
        if layer["class_name"] == "Any" and not reasons_not_own(layer, name):
            (node,) = layer["inbound_nodes"]
            ((given, _),) = _tensors(node["args"])
            over = layer["config"].get("axis")
            if "Masking" in compared.get(given, ()) and over in (-1, [-1]) and not layer["config"].get("keepdims"):
                masks.add(name)
    return masks


def _history(outputs):
    """Return the (layer, index) pairs of the outputs of a model."""
    if len(outputs) == 3 and isinstance(outputs[0], str):
        return [(outputs[0], outputs[2])]
    return [(name, index) for name, _, index in outputs]


def _tensors(value) -> list:
    """Return the (layer, index) pairs of the tensors within a value."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            name, _, index = value["config"]["keras_history"]
            return [(name, index)]
        value = list(value.values())
    return [pair for item in value for pair in _tensors(item)] if isinstance(value, (list, tuple)) else []
