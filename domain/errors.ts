/**
 * Every failure that a person or a program can meet, in one table: its HTTP status, whether trying again can
 * help, and what to do. Without one table the same failure gets a different name in each layer. The comment of each code is
 * its meaning in docs/reference/errors.md, and the lines between them are the headings there.
 */

interface ErrorKind {
  /** The HTTP status the API answers with. */
  status: number
  /** Whether the same call may succeed later without a change to it. */
  retryable: boolean
  /** What the caller should do, in one sentence. */
  remedy: string
}

const kind = (status: number, retryable: boolean, remedy: string): ErrorKind => ({
  status,
  retryable,
  remedy,
})

export const errorTable = {
  // What a request may get wrong.
  /** The body is no JSON, or JSON that breaks off. */
  body_not_json: kind(400, false, 'Send a JSON body (content-type: application/json) that parses.'),
  /** The body is of a type that this route does not read. */
  unsupported_media_type: kind(
    415,
    false,
    'Say what the body is: "content-type: application/json", or another type that the message names.',
  ),
  /** The body is longer than this route takes. */
  body_too_large: kind(413, false, 'Send a smaller body; the limit is in the message.'),
  /** A field is missing, unknown, or not of its shape. */
  invalid_request: kind(
    400,
    false,
    'Correct the fields named in the message; /openapi.json shows the shape.',
  ),
  /** A prediction was asked for without a row. */
  no_instances: kind(422, false, 'Send at least one instance in "instances".'),
  /** One request has more rows than are answered at once. */
  batch_too_large: kind(
    413,
    false,
    'Split the instances over several requests; the limit is in the message.',
  ),
  /** A row lacks a feature of the model. */
  missing_feature: kind(422, false, 'Send every feature of the model; GET /v1/models/{model} lists them.'),
  /** A row has a field that is no feature of the model. */
  unknown_feature: kind(422, false, 'Remove the field; GET /v1/models/{model} lists the features.'),
  /** A feature has a value of another type than its declaration. */
  wrong_type: kind(422, false, 'Send the type the feature declares; GET /v1/models/{model} lists them.'),
  /** A number is infinite or none. */
  not_finite: kind(422, false, 'Send a finite number; leave the value null where it is missing.'),
  /** A text is none of the values that the feature declares. */
  unknown_category: kind(422, false, 'Send one of the declared values; GET /v1/models/{model} lists them.'),
  // Who asks.
  /** There is no key, or one that does not open. */
  unauthenticated: kind(
    401,
    false,
    'Send "Authorization: Bearer <key>" with a key that is neither revoked nor expired.',
  ),
  /** The key is good and may not do this. */
  forbidden: kind(
    403,
    false,
    'Use a key whose role and models allow this; an admin can make one with `tenure keys create`.',
  ),
  /** The key has asked more often than it may. */
  rate_limited: kind(
    429,
    true,
    'Slow down and retry after the time in Retry-After; an admin can give the key more with `tenure keys create --rate`.',
  ),
  // What is asked for.
  /** There is nothing at this path or of this name. */
  not_found: kind(404, false, 'Check the name; the list route beside it shows what exists.'),
  /** The path is there and does not take this method. */
  method_not_allowed: kind(405, false, 'Use one of the methods in the Allow header.'),
  /** No model of this name was taken in. */
  model_not_found: kind(
    404,
    false,
    'Check the name with `tenure models`; a new model file is taken in by `tenure models sync`.',
  ),
  /** No version of this name is registered. */
  version_not_found: kind(404, false, 'Check the version with GET /v1/models/{model}.'),
  /** There is no release of this id. */
  release_not_found: kind(404, false, 'Check the id with `tenure releases`.'),
  /** One retraining of a model runs at a time, and one runs. */
  retraining_in_progress: kind(409, true, 'Wait for the running retraining of this model, then ask again.'),
  /** One release of a model is open at a time, and its policy lets no other wait. */
  release_in_progress: kind(409, true, 'Wait for the running release of this model to end, or abort it.'),
  /** One drill of a model is held at a time, and one is. */
  drill_in_progress: kind(409, true, 'Wait for the running drill of this model to end: `tenure drills`.'),
  /** The policy asks for a recent drill that has passed, and there is none. */
  drill_stale: kind(
    409,
    false,
    'Run `tenure drill <model>` and look at what failed; the release policy asks for a drill that has passed.',
  ),
  /** The release is not in a state in which this can be said, or not by this person. */
  command_refused: kind(
    409,
    false,
    'Read the reason: the release is not in a state that accepts this command.',
  ),
  /** The same key was used before for another command. */
  idempotency_conflict: kind(
    409,
    false,
    'Give each command an Idempotency-Key of its own, and repeat one only with the same body.',
  ),
  /** The model has no version that may answer. */
  no_champion: kind(503, true, 'Train and release a first version: `tenure retrain <model>`.'),
  /** Somebody has said that nobody is to be answered. */
  model_refused: kind(
    503,
    true,
    'Wait: whoever has thrown the switch says why in `tenure flags list`; `tenure flags set <model> normal` ends it.',
  ),
  /** No earlier version of the model has proven itself. */
  no_rollback_target: kind(409, false, 'There is no earlier proven version to return to.'),
  /** This process cannot do it yet, or is being ended. */
  not_ready: kind(503, true, 'Wait until /readyz answers 200; its body says what is missing.'),
  // What the core cannot do now.
  /** Postgres does not answer. */
  postgres_unavailable: kind(
    503,
    true,
    'Try again; predictions go on meanwhile. `tenure status` shows the database.',
  ),
  /** Temporal does not answer. */
  temporal_unavailable: kind(
    503,
    true,
    'Try again; predictions go on meanwhile. `tenure status` shows Temporal.',
  ),
  /** The answer could not be written to the log in time, and durable mode gives none without. */
  prediction_log_unavailable: kind(
    503,
    true,
    'Send it again, under the same idempotency-key when it has one; `tenure status` shows the database.',
  ),
  /** What computes a model that is not compiled does not answer. */
  model_unavailable: kind(
    503,
    true,
    'Try again: what computes the model has failed and is started anew. The log of the API says how.',
  ),
  /** More waits than can be answered in time. */
  overloaded: kind(503, true, 'Slow down and retry after the time in Retry-After.'),
  /** The caller would no longer have waited for the answer. */
  deadline_exceeded: kind(504, true, 'Try again, or send a longer deadline.'),
  // What a model, its data or its artifact may get wrong.
  /** A model file is not as it must be. */
  invalid_model_file: kind(422, false, 'Correct the issues listed; each names its place in the model file.'),
  /** A release policy cannot be used. */
  invalid_policy: kind(422, false, 'Correct the release policy; the message names the fields.'),
  /** A routing is none that can be followed. */
  invalid_route: kind(
    422,
    false,
    'Shares are whole basis points that sum to 10,000, one champion among them.',
  ),
  /** The release was told of something that cannot happen in its stage. */
  invalid_transition: kind(
    409,
    false,
    'The state machine has no such step; the message names state and event.',
  ),
  /** The routing was written for a generation that is no longer the newest. */
  stale_generation: kind(409, true, 'Another writer moved the routing first; read it again.'),
  /** Stored bytes are not those that were stored. */
  artifact_corrupt: kind(
    500,
    false,
    'The stored bytes do not match their digest; restore them from a backup or register the version again.',
  ),
  /** An artifact is whole, and not one that may serve. */
  artifact_invalid: kind(
    422,
    false,
    'The artifact is refused before any traffic; the message names what is wrong.',
  ),
  /** A version was not signed by this installation. */
  artifact_untrusted: kind(
    500,
    false,
    'Give this process the signing key of the installation (TENURE_SIGNING_KEY), or register the version again.',
  ),
  /** The model has answered with something that is no answer. */
  output_invalid: kind(
    500,
    false,
    'The model answered with a value that is not finite or not of its schema; the canary judge counts it.',
  ),
  /** There is nothing to train on. */
  snapshot_empty: kind(
    422,
    false,
    'No rows are known at this moment; choose a later as_of or check the source.',
  ),
  /** The rows of a model are not as its file says. */
  source_unreadable: kind(
    422,
    false,
    'Read the message, which names the column or the line; correct the source or the model file, then retrain.',
  ),
  /** The training ended without a model. */
  training_failed: kind(500, false, 'Read the reason and the last lines of the trainer, then retrain.'),
  /** The training process was killed. */
  training_interrupted: kind(
    503,
    true,
    'Wait: it goes on from its last checkpoint. When it keeps happening, look at the memory of the training worker.',
  ),
  /** A process had no memory left; another machine may have more, and it is tried three times. */
  out_of_memory: kind(
    503,
    true,
    'Give the training worker more memory (TENURE_TRAINING_MEMORY_MB, or the machine), or train on fewer rows at a time, then retrain.',
  ),
  /** A variable is missing or wrong; all of them are named together. */
  configuration_invalid: kind(500, false, 'Set the variables named in the message.'),
  /** Something happened that nobody foresaw. */
  internal: kind(500, true, 'This is a defect; the log line with this request id has the details.'),
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errorTable

/** The one error of the project. Across processes it is matched by `code`, never by class. */
export class DomainError extends Error {
  readonly code: ErrorCode
  readonly remedy: string
  readonly context: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, context: Record<string, unknown> = {}) {
    super(message)
    this.name = 'DomainError'
    this.code = code
    this.remedy = errorTable[code].remedy
    this.context = context
  }
}

/** Whether something thrown, perhaps in another process, is the error of this code. */
export function isError(thrown: unknown, code?: ErrorCode): thrown is DomainError {
  if (typeof thrown !== 'object' || thrown === null || !('code' in thrown)) return false
  const found = (thrown as { code: unknown }).code
  return typeof found === 'string' && found in errorTable && (code === undefined || found === code)
}
