"""A stand-in for the interfaces of SageMaker and CloudWatch: ``sagemaker_stand_in.py PORT``. Its answers are those of moto.

Unlike moto, it takes an order as AWS describes: the endpoint is ``Updating`` for some looks, or while it is held, and takes no other order
until then. Each order changes the endpoint at a time that lies ten minutes after the previous one and hours ago, so that counts can be put
into minutes that are over. Each request of the product is compared with the service model of AWS that botocore ships: its shape, the
patterns of its names, what botocore's serializer writes for the same parameters, and its signature. ``/stand-in/NAME`` takes the
instructions of the test.
"""

import json
import re
import sys
from datetime import datetime, timedelta, timezone
from io import BytesIO

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.serialize import create_serializer
from botocore.validate import ParamValidator
from moto.sagemaker.exceptions import AWSValidationException
from moto.sagemaker.models import SageMakerModelBackend, sagemaker_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
from werkzeug.wrappers import Request, Response

port = int(sys.argv[1])
region, account, endpoint = "eu-west-1", "123456789012", "roses"
address = f"http://127.0.0.1:{port}"
key = {"accessKeyId": "AKIDOFTEST", "secretAccessKey": "secret-of-test"}
started = datetime.now(timezone.utc).replace(second=0, microsecond=0) - timedelta(hours=8)
orders = 0
looks_of_an_order = 3
state = {"held": False, "looks": 0, "fail": {}, "asked": {}, "orders": [], "problems": []}


def changed_at():
    return started + timedelta(minutes=10 * orders, seconds=17)


def the_endpoint():
    return sagemaker_backends[account][region].endpoints[endpoint]


def finish():
    global orders
    orders += 1
    found = the_endpoint()
    for variant in found.production_variants:
        variant["CurrentWeight"] = variant["DesiredWeight"]
    found.endpoint_status = "InService"
    found.last_modified_time = changed_at().replace(tzinfo=None)


take_order, describe = (
    SageMakerModelBackend.update_endpoint_weights_and_capacities,
    SageMakerModelBackend.describe_endpoint,
)


def begin(self, endpoint_name, desired_weights_and_capacities):
    found = the_endpoint()
    if found.endpoint_status != "InService":
        raise AWSValidationException(f"Cannot update in-progress endpoint {endpoint_name}.")
    before = [dict(variant) for variant in found.production_variants]
    arn = take_order(self, endpoint_name, desired_weights_and_capacities)
    for variant, kept in zip(found.production_variants, before):
        variant.update({**kept, "DesiredWeight": variant["DesiredWeight"]})
    found.endpoint_status = "Updating"
    state["looks"] = looks_of_an_order
    state["orders"].append({each["VariantName"]: each["DesiredWeight"] for each in desired_weights_and_capacities})
    return arn


def look(self, endpoint_name):
    if endpoint_name == endpoint and the_endpoint().endpoint_status == "Updating" and not state["held"]:
        state["looks"] -= 1
        if state["looks"] <= 0:
            finish()
    return describe(self, endpoint_name)


SageMakerModelBackend.update_endpoint_weights_and_capacities = begin
SageMakerModelBackend.describe_endpoint = look

models = {
    "SageMaker": ("sagemaker", ServiceModel(Loader().load_service_model("sagemaker", "service-2"))),
    "GraniteServiceVersion20100801": ("monitoring", ServiceModel(Loader().load_service_model("cloudwatch", "service-2"))),
}


def mismatches(value, shape, path):
    """Compares names with the patterns of the model, which botocore's validator leaves to the service."""
    if shape.type_name == "structure":
        for name, part in value.items():
            yield from mismatches(part, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for part in value:
            yield from mismatches(part, shape.member, f"{path}[]")
    elif shape.type_name == "string":
        pattern, names = shape.metadata.get("pattern"), shape.metadata.get("enum")
        if pattern is not None and re.fullmatch(pattern, value) is None:
            yield f"{path} {value!r} is not {pattern}"
        if names and value not in names:
            yield f"{path} {value!r} is none of {names}"


def issues_of(params, shape, path):
    unknown = set(params) - set(shape.members)
    yield from [f"{path} has no {name}" for name in unknown]
    known = {name: part for name, part in params.items() if name not in unknown}
    found = ParamValidator().validate(known, shape)
    if found.has_errors():
        yield f"{path}: {found.generate_report()}"
    else:
        yield from mismatches(known, shape, path)


def check_request(request, body):
    prefix, operation = request.headers["X-Amz-Target"].split(".")
    service, model = models[prefix]
    found = model.operation_model(operation)
    params = json.loads(body)
    yield from issues_of(params, found.input_shape, operation)
    written = create_serializer("json").serialize_to_request(params, found)
    for name in ("X-Amz-Target", "Content-Type"):
        if written["headers"][name] != request.headers[name]:
            yield f"{name} is {request.headers[name]}, and botocore writes {written['headers'][name]}"
    if json.loads(written["body"]) != params:
        yield f"{operation}: botocore writes {written['body']}"
    scope = re.match(r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request, ?SignedHeaders=([^,]+), ?Signature=(\w+)$", request.headers["Authorization"])
    access, signed_region, signed_service, names, signature = scope.groups()
    if (access, signed_region, signed_service) != (key["accessKeyId"], region, service):
        yield f"the signature is for {scope.groups()[:3]}"
    again = AWSRequest(request.method, request.url, data=body)
    for name in names.split(";"):
        again.headers[name] = request.headers[name]
    again.context["timestamp"] = request.headers["X-Amz-Date"]
    signer = SigV4Auth(Credentials(key["accessKeyId"], key["secretAccessKey"]), service, region)
    wanted = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    if wanted != signature:
        yield f"the signature of {operation} is {signature}, and botocore computes {wanted}"


def client(service):
    return boto3.client(
        service, region, endpoint_url=address, aws_access_key_id="test", aws_secret_access_key="test"
    )


def create(variants):
    sagemaker = client("sagemaker")
    role = f"arn:aws:iam::{account}:role/test"
    sagemaker.create_model(ModelName="roses", PrimaryContainer={"Image": "roses"}, ExecutionRoleArn=role)
    common = {"ModelName": "roses", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(
        EndpointConfigName="roses",
        ProductionVariants=[{"VariantName": name, "InitialVariantWeight": 1.0, **common} for name in variants],
    )
    sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName="roses")
    # moto answers with an empty configuration, which AWS never does.
    the_endpoint().data_capture_config = None
    set_weights(variants)


def set_weights(weights):
    """Another hand: it takes effect at once."""
    global orders
    orders += 1
    for variant in the_endpoint().production_variants:
        if variant["VariantName"] in weights:
            variant["CurrentWeight"] = variant["DesiredWeight"] = weights[variant["VariantName"]]
    the_endpoint().last_modified_time = changed_at().replace(tzinfo=None)


def serve(requests, failing=None, minute=1):
    """Puts the counts of requests by the present weights into a minute after the last change."""
    weights = {each["VariantName"]: each["CurrentWeight"] for each in the_endpoint().production_variants}
    whole = sum(weights.values())
    at = changed_at().replace(second=0) + timedelta(minutes=minute)
    data = []
    for name, weight in weights.items():
        count = requests * weight / whole
        for metric, value in (("Invocations", count), ("Invocation5XXErrors", count * (failing or {}).get(name, 0))):
            if value > 0:
                dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": name}]
                data.append({"MetricName": metric, "Dimensions": dimensions, "Timestamp": at, "Value": round(value)})
    client("cloudwatch").put_metric_data(Namespace="AWS/SageMaker", MetricData=data)
    return {each["Dimensions"][1]["Value"]: each["Value"] for each in data if each["MetricName"] == "Invocations"}


def show():
    found = the_endpoint()
    weights = {each["VariantName"]: each["CurrentWeight"] for each in found.production_variants}
    return {"status": found.endpoint_status, "weights": weights, **state}


instructions = {
    "create": create,
    "weights": set_weights,
    "serve": serve,
    "hold": lambda held: state.update(held=held),
    "fail": lambda operation, status, kind: state["fail"].update({operation: (status, kind)}),
    "mend": lambda: state["fail"].clear(),
    "show": show,
    "ready": lambda: True,
}
moto = DomainDispatcherApplication(create_backend_app)


@Request.application
def app(request):
    body = request.get_data()
    request.environ["wsgi.input"] = BytesIO(body)
    if request.path.startswith("/stand-in/"):
        instruction = instructions[request.path.removeprefix("/stand-in/")]
        return Response(json.dumps(instruction(**json.loads(body or "{}"))), content_type="application/json")
    if "Boto" in request.headers.get("User-Agent", ""):
        return moto
    operation = request.headers["X-Amz-Target"].split(".")[1]
    state["asked"][operation] = state["asked"].get(operation, 0) + 1
    state["problems"].extend(check_request(request, body))
    if operation in state["fail"]:
        status, kind = state["fail"][operation]
        return Response(json.dumps({"__type": kind, "Message": "as the test asks"}), status)
    answer = Response.from_app(moto, request.environ)
    if answer.status_code == 200:
        output = models[request.headers["X-Amz-Target"].split(".")[0]][1].operation_model(operation).output_shape
        state["problems"].extend(issues_of(json.loads(answer.get_data()), output, f"moto's {operation}"))
    return answer


run_simple("127.0.0.1", port, app, threaded=True)
