"""Kubernetes manifests on standard input as a list in JSON; with --schemas, the mistakes in them instead, a line for each.

What Kubernetes itself knows is held to its schemas, strictly, of the oldest and the newest version that we support. What KEDA and
Prometheus Operator know is read by models that are made of their CRDs: a field that a model drops is none of theirs.
"""

import json
import sys

import yaml

SUPPORTED = ("1.31", "1.37")


def models():
    from cloudcoil.models.keda.v1alpha1 import ScaledObject, TriggerAuthentication
    from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule

    return {model.__name__: model for model in (ScaledObject, TriggerAuthentication, PodMonitor, PrometheusRule)}


def dropped(had, kept, path):
    """Where `had` has something that `kept` has not."""
    if isinstance(had, dict):
        for key, value in had.items():
            if not isinstance(kept, dict) or key not in kept:
                yield f"{path}.{key} is no field"
            else:
                yield from dropped(value, kept[key], f"{path}.{key}")
    elif isinstance(had, list):
        for at, value in enumerate(had):
            yield from dropped(value, kept[at], f"{path}[{at}]")


def custom_mistakes(model, manifest):
    import pydantic

    try:
        read = model.model_validate(manifest)
    except pydantic.ValidationError as error:
        return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    return dropped(manifest, read.model_dump(mode="json", by_alias=True, exclude_unset=True), "")


def own_mistakes(manifest):
    import kubernetes_validate

    for version in SUPPORTED:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{'.'.join(map(str, error.path))}: {error.message} ({version})"
        except kubernetes_validate.SchemaNotFoundError as error:
            yield error.message


def mistakes(manifests):
    custom = models()
    # What two overlays have in common is looked at once.
    for manifest in {json.dumps(one, sort_keys=True): one for one in manifests}.values():
        kind = manifest["kind"]
        found = custom_mistakes(custom[kind], manifest) if kind in custom else own_mistakes(manifest)
        for mistake in found:
            yield f"{kind} {manifest['metadata']['name']}: {mistake}"


def main():
    manifests = [manifest for manifest in yaml.safe_load_all(sys.stdin) if manifest]
    if sys.argv[1:] == ["--schemas"]:
        for mistake in mistakes(manifests):
            print(mistake)
    else:
        json.dump(manifests, sys.stdout)


main()
