/**
 * Lists every error code with its HTTP status, whether a retry can help, and its remedy, so that all layers name a failure alike.
 * The comment of a code is its meaning in docs/reference/errors.md; the line comments between codes are the headings there.
 */
import { redacted } from './redact.ts'

interface ErrorKind {
  /** The HTTP status of the response. */
  status: number
  /** Whether the same request may succeed later without a change. */
  retryable: boolean
  /** One or two sentences that begin with an imperative and name the option or the command. */
  remedy: string
}

/** The same request fails again without a change. */
const permanent = (status: number, remedy: string): ErrorKind => ({ status, retryable: false, remedy })
/** The same request may succeed later. */
const transient = (status: number, remedy: string): ErrorKind => ({ status, retryable: true, remedy })

export const errorTable = {
  // Requests.
  /** The body is not valid JSON. */
  body_not_json: permanent(400, 'Send a complete JSON body with `content-type: application/json`.'),
  /** The route does not read this content type. */
  unsupported_media_type: permanent(
    415,
    'Set `content-type` to `application/json` or to another type that the message names.',
  ),
  /** The body is longer than the limit of the route. */
  body_too_large: permanent(413, 'Send a smaller body; the message states the limit.'),
  /** A field is missing, unknown or has the wrong type. */
  invalid_request: permanent(
    400,
    'Correct the fields that the message names; `/openapi.json` describes them.',
  ),
  /** The request is not valid HTTP. */
  malformed_request: permanent(400, 'Send the request as HTTP/1.1; the message names what is wrong.'),
  /** The request did not arrive in time. */
  request_timeout: transient(
    408,
    'Send the complete request within 10 seconds, an upload or a stream within 30.',
  ),
  /** The header lines are longer than the limit. */
  headers_too_large: permanent(431, 'Send at most 16 KiB of header lines.'),
  /** The header Expect has a value other than 100-continue. */
  expectation_failed: permanent(417, 'Remove the header Expect, or send `Expect: 100-continue`.'),
  /** The request was sent to a name that is not configured for this API. */
  host_not_allowed: permanent(
    421,
    'Use an address or `localhost`, or add the name to TENURE_ALLOWED_HOSTS and restart the API.',
  ),
  /** A page of another site sent the request, and it has no key. */
  cross_site_request: permanent(403, 'Send a key in "Authorization", or use a page of this address.'),
  /** A prediction request has no rows. */
  no_instances: permanent(422, 'Send at least one row in "instances".'),
  /** A prediction request has more rows than the limit. */
  batch_too_large: permanent(413, 'Split the instances over several requests; the message states the limit.'),
  /** A row lacks a feature of the model. */
  missing_feature: permanent(
    422,
    "Send a value of every feature; `GET /v1/models/{model}/openapi.json` lists them. A feature may be null or left out where the model file says missing: 'fill'.",
  ),
  /** A row has a field that is a feature neither of the model file nor of a version of the model. */
  unknown_feature: permanent(
    422,
    'Correct or remove the field; `GET /v1/models/{model}/openapi.json` lists the features.',
  ),
  /** The value of a feature has the wrong type. */
  wrong_type: permanent(
    422,
    'Send the declared type of the feature; `GET /v1/models/{model}/openapi.json` lists the types.',
  ),
  /** A number is not finite. */
  not_finite: permanent(422, 'Send a finite number, or null for a missing value.'),
  /** A text is not among the declared values of its feature. */
  unknown_category: permanent(
    422,
    'Send one of the declared values; `GET /v1/models/{model}/openapi.json` lists them.',
  ),
  /** An expression of `prepare` fails for a row, or gives a value that its feature does not accept. */
  prepare_failed: permanent(
    422,
    'Correct the fields that the expression reads, or make the expression in `prepare` accept them, as with try_cast and nullif.',
  ),
  // Authentication and limits.
  /** The request has no valid key. */
  unauthenticated: permanent(
    401,
    'Send "Authorization: Bearer <key>" with a key that is neither revoked nor expired.',
  ),
  /** The replica asks for a certificate of the caller, and this connection has none that it trusts. */
  client_certificate_required: permanent(
    403,
    'Connect with a certificate that an authority in TENURE_TLS_CLIENT_CA has signed; for commands, set TENURE_CLIENT_CERT and TENURE_CLIENT_KEY.',
  ),
  /** The key has no permission for this request. */
  forbidden: permanent(
    403,
    'Use a key with the required role and model; an admin can create it with `tenure keys create`.',
  ),
  /** The key has exceeded its request rate. */
  rate_limited: transient(
    429,
    'Retry after the time in Retry-After; an admin can create a key with a higher limit: `tenure keys create <name> --role <role> --rate <n>`.',
  ),
  // Resources.
  /** The path or the named resource does not exist. */
  not_found: permanent(
    404,
    'Check the name: `tenure models`, `tenure releases list` and `tenure alerts` list what exists.',
  ),
  /** The path does not support this method. */
  method_not_allowed: permanent(405, 'Use one of the methods in the Allow header.'),
  /** No model of this name is registered. */
  model_not_found: permanent(
    404,
    'Check the name with `tenure models`; register a new model file with `tenure models sync`.',
  ),
  /** No version of this name is registered. */
  version_not_found: permanent(404, 'Check the version with `tenure versions` or `GET /v1/models/{model}`.'),
  /** No release has this id. */
  release_not_found: permanent(404, 'Check the id with `tenure releases list`.'),
  /** A retraining of this model is running; only one can run at a time. */
  retraining_in_progress: transient(
    409,
    'Wait for the running retraining of this model, or cancel it with `tenure retrainings cancel <model>`, then retry.',
  ),
  /** A release of this model is open, and its policy does not queue another. */
  release_in_progress: transient(
    409,
    'Wait for the open release of this model to end, or abort it with `tenure abort <release>`.',
  ),
  /** A drill of this model is running; only one can run at a time. */
  drill_in_progress: transient(
    409,
    'Wait for the running drill of this model; `tenure drills list` shows it.',
  ),
  /** The release policy requires a recent drill that has passed. */
  drill_stale: permanent(409, 'Run `tenure drills run <model>` and correct the drills that fail.'),
  /** The release does not accept this command in its state, or not from this user. */
  command_refused: permanent(409, 'See the release: `tenure releases show <release>`.'),
  /** A resource that the plan would change has changed since the plan was made. */
  plan_stale: permanent(409, 'Run `tenure plan` again, read what has changed, and apply that plan.'),
  /** The Idempotency-Key was used before with another request. */
  idempotency_conflict: permanent(
    409,
    'Use a new Idempotency-Key for each command, and repeat a key only with the same body.',
  ),
  /** The model has no version in production. */
  no_champion: transient(
    503,
    'Approve the open release that `tenure releases <model>` shows, or start one with `tenure releases start <version>`. Without a version, train one with `tenure retrain <model>`; where the model file has no `train`, bring one with `tenure versions register <model> --artifact FILE`.',
  ),
  /** The kill switch of this model is set to "refuse". */
  model_refused: transient(
    503,
    'Read the reason with `tenure kill-switches list`; clear it with `tenure kill-switches set <model> normal --reason "…"`.',
  ),
  /** The model has no earlier version that has passed its probation. */
  no_rollback_target: permanent(
    409,
    'Check the versions with `tenure versions`; retrain with `tenure retrain <model>`, or bring a version with `tenure versions register <model> --artifact FILE`.',
  ),
  /** The process is starting or shutting down. */
  not_ready: transient(
    503,
    'Wait until `/readyz` returns 200; with a key of all models, its body lists what is missing.',
  ),
  // Availability.
  /** Postgres is unreachable. */
  postgres_unavailable: transient(
    503,
    'Retry later; predictions continue. Find the cause with `tenure doctor`.',
  ),
  /** Temporal is unreachable. */
  temporal_unavailable: transient(
    503,
    'Retry later; predictions continue. Find the cause with `tenure doctor`.',
  ),
  /** The object store does not respond, or it refuses the request. */
  object_store_unavailable: transient(
    503,
    'Retry later; predictions continue, and work that waits for the store then resumes. Check the store with `tenure doctor`.',
  ),
  /** An address that the operator of this machine has not set leads to a private address. */
  address_not_allowed: permanent(
    422,
    'Use a public address, or have the operator of the workers and replicas add its host to TENURE_PRIVATE_HOSTS.',
  ),
  /** Another system sends more than is read from it. */
  answer_too_large: permanent(
    422,
    'Check the address. For a file of a source, split it, or raise TENURE_SOURCE_FILE_MB of the workers.',
  ),
  /** A disk of this installation is full. */
  no_room: transient(503, 'Make room on the disk; work that waits for it then resumes.'),
  /** The prediction could not be logged in time, which durable mode requires. */
  prediction_log_unavailable: transient(
    503,
    'Send the request again with the same Idempotency-Key; find the cause with `tenure doctor`.',
  ),
  /** The process or the endpoint that answers a model does not respond. */
  model_unavailable: transient(
    503,
    'Retry later. A predictor process restarts by itself, and the log of the API has its cause; of an endpoint, the message says what its server did.',
  ),
  /** The endpoint of a version refuses the request, is not asked, or gives no answer that can be used. */
  endpoint_unusable: permanent(
    503,
    'Correct what the message names of the file of the endpoint, its secret or its server, and ask or register the version again.',
  ),
  /** The queue of waiting predictions is full. */
  overloaded: transient(503, 'Retry after the time in Retry-After.'),
  /** The deadline of the request has passed. */
  deadline_exceeded: transient(504, 'Retry, or set a longer deadline in `x-deadline-ms`.'),
  // Models, data and artifacts.
  /** A model file is not valid. */
  invalid_model_file: permanent(422, 'Correct the listed issues; each names its place in the model file.'),
  /** A release policy is not valid. */
  invalid_policy: permanent(422, 'Correct the fields of the release policy that the message names.'),
  /** A routing table is not valid. */
  invalid_route: permanent(
    422,
    'Set shares in whole basis points that sum to 10,000, with exactly one champion.',
  ),
  /** The release received an event that is impossible in its stage. */
  invalid_transition: permanent(409, 'Report this defect with the state and the event in the message.'),
  /** Another writer has changed the routing since it was read. */
  stale_generation: transient(409, 'Read the routing again, then retry.'),
  /** The stored bytes do not match their digest. */
  artifact_corrupt: permanent(500, 'Restore the artifact from a backup, or register the version again.'),
  /** The artifact is intact but cannot be served. */
  artifact_invalid: permanent(
    422,
    'Correct the fault that the message names, then train, register or compress again.',
  ),
  /** A bundle was changed, truncated or put together wrongly. */
  bundle_invalid: permanent(
    422,
    'Export the version again with `tenure bundle export`, and carry the file unchanged.',
  ),
  /** A bundle is signed by a key that is not trusted here. */
  bundle_untrusted: permanent(
    422,
    'Put the public key of `tenure bundle key` of the source into `$TENURE_TRUST/bundles/<name>.pem`, if you trust it.',
  ),
  /** The version was not signed by this installation. */
  artifact_untrusted: permanent(
    500,
    'Set TENURE_TRUST to the public keys of the installation, or register the version again.',
  ),
  /** The model returned a value that is not finite or does not match its schema. */
  output_invalid: permanent(
    500,
    'Check the model with the row of this request; the canary judge counts such responses.',
  ),
  /** No rows are known as of this time. */
  snapshot_empty: permanent(
    422,
    'Choose an `--as-of` that the rows reach, or check the source and the split of the model file.',
  ),
  /** Too few answered requests have an outcome to train on them. */
  too_few_outcomes: permanent(
    422,
    'Send outcomes of answered requests, lengthen `since` of `served(…)` in the model file, or train from files until enough requests have an outcome.',
  ),
  /** The rows of the source do not match the model file. */
  source_unreadable: permanent(
    422,
    'Correct the column or line that the message names in the source or the model file, then retrain.',
  ),
  /** The training ended without a model. */
  training_failed: permanent(
    500,
    'Read the reason and the last lines of the trainer, correct the model file or the program that it names, then retrain.',
  ),
  /** The training process was killed. */
  training_interrupted: transient(
    503,
    'Wait until the training resumes from its last checkpoint; check the memory of the worker if it repeats.',
  ),
  /** The training process ran out of memory; after three such attempts, the training fails as `training_failed`. */
  out_of_memory: transient(
    503,
    'Set TENURE_TRAINING_MEMORY_MB higher or use a larger machine, or train on fewer rows, then retrain.',
  ),
  /** The Python environment of a training script cannot be made. */
  environment_failed: transient(
    503,
    'Install python3 with venv and pip on the training worker, or correct the interpreter, the requirements or the package index, then retrain.',
  ),
  /** An environment variable or a setting of a file is missing or invalid; the message names all of them. */
  configuration_invalid: permanent(500, 'Correct the settings that the message names.'),
  /** An unexpected error occurred. */
  internal: transient(500, 'Report this defect; the log line with this request id has the details.'),
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errorTable

/** The only error class of the project. Match it by `code`: across processes its class is lost. */
export class DomainError extends Error {
  readonly code: ErrorCode
  readonly remedy: string
  readonly context: Readonly<Record<string, unknown>>

  /** `remedy` of the context replaces the one of the table, where the place of the error knows more. */
  constructor(code: ErrorCode, message: string, context: Record<string, unknown> & { remedy?: string } = {}) {
    super(message)
    this.name = 'DomainError'
    this.code = code
    this.remedy = context.remedy ?? errorTable[code].remedy
    this.context = context
  }
}

/** Of an error that another process threw, the code alone is certain. */
export function remedyOf(error: DomainError): string {
  const own: unknown = error.remedy
  return typeof own === 'string' ? own : errorTable[error.code].remedy
}

/** A text of a caller for a message, cut where it is long. */
export function cutName(text: string): string {
  // Redacted before it is cut: of a secret that is cut, no pattern knows the rest.
  const shown = redacted(text)
  return shown.length > 60 ? `${shown.slice(0, 60)}…` : shown
}

/** The same in quotation marks. */
export const quotedName = (text: string): string => JSON.stringify(cutName(text))

/** The first names of a list for a message, and how many more there are. */
export const firstNames = (names: readonly (string | number)[], most: number): string =>
  names.length <= most
    ? names.join(', ')
    : `${names.slice(0, most).join(', ')} and ${names.length - most} more`

/** The message of a thrown value, with that of its cause: only there does `fetch` report why a connection failed. */
export function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown)
  return thrown.cause instanceof Error ? `${thrown.message}: ${thrown.cause.message}` : thrown.message
}

export const isErrorCode = (code: string | null | undefined): code is ErrorCode =>
  typeof code === 'string' && Object.hasOwn(errorTable, code)

/** Whether a thrown value is a DomainError, of this code when one is given; also when another process threw it. */
export function isError(thrown: unknown, code?: ErrorCode): thrown is DomainError {
  if (typeof thrown !== 'object' || thrown === null || !('code' in thrown)) return false
  const found = (thrown as { code: unknown }).code
  return typeof found === 'string' && found in errorTable && (code === undefined || found === code)
}

/** Whether the process or the server that answers a model fails, and not the model itself. */
export const isUnanswered = (thrown: unknown): boolean =>
  isError(thrown, 'model_unavailable') || isError(thrown, 'endpoint_unusable')

/**
 * Returns what a lookup has found. Throws an error with this code, which names what was looked for, when the lookup has found nothing. A
 * caller whose start was deferred has the id of the command alone, so that the error says where the command is shown.
 */
export function requireFound<T>(
  found: T | undefined,
  { what, id, code = 'not_found' }: { what: string; id: string; code?: ErrorCode },
): T {
  if (found !== undefined) return found
  const [command] = /^cmd_\w{1,60}$/.exec(id) ?? []
  throw new DomainError(code, `there is no ${what} ${JSON.stringify(id.slice(0, 200))}`, {
    remedy:
      command &&
      `This is the id of a command: \`tenure commands show ${command}\` or GET /v1/commands/${command} shows what it has started.`,
  })
}
