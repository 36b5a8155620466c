/** Finds the predictions of outcomes in the log, by their ids or by the references of their requests. */
import { quotedName } from '../../domain/errors.ts'
import { awaitAnswered, awaitReferenced, type AnsweredPrediction } from '../../store/monitoring/outcomes.ts'
import { findErased } from '../../store/privacy/erased-subjects.ts'
import type { Store } from '../../store/postgres.ts'
import { canAccessModel, type Actor } from '../auth/authentication.ts'
import { labellers } from '../http/route.ts'
import { instanceSuffix } from '../serving/prediction-ids.ts'

/** A prediction by the reference of its request. */
export interface ReferencedPrediction {
  model: string
  reference: string
  /** The index of its row; may be absent when every request with the reference has one row. */
  instance: number | undefined
}

interface Named {
  /** The prediction by its id, in lower case, or by the reference of its request. */
  of: string | ReferencedPrediction
  observedAt: string
}

export interface Refused {
  message: string
  code: 'invalid_request' | 'forbidden'
}

export interface OutcomeTarget {
  predictionId: string
  /** Absent for a prediction that is not in the log. */
  answered: AnsweredPrediction | undefined
  isErased: boolean
}

/** An outcome of more requests would count once for each of them. */
const maxRequests = 100

/**
 * Returns a function that returns the predictions of an outcome, or why the outcome is refused. A reference that is not in the log has no predictions.
 * The references of a predictor name only its own requests.
 */
export async function findTargets<T extends Named>(
  { store, actor }: { store: Store; actor: Actor },
  sent: readonly T[],
): Promise<(outcome: T) => OutcomeTarget[] | Refused> {
  const ids = sent.flatMap(({ of }) => (typeof of === 'string' ? [of] : []))
  const answered = ids.length === 0 ? new Map<string, never>() : await awaitAnswered(store, ids)
  const unlogged = ids.filter((id) => !answered.has(id))
  const erased = unlogged.length === 0 ? new Set<string>() : await findErased(store, unlogged)
  const named = sent.flatMap((outcome) =>
    typeof outcome.of !== 'string' && canAccessModel(actor, outcome.of.model)
      ? [{ ...outcome.of, observedAt: outcome.observedAt, outcome }]
      : [],
  )
  const keyId = labellers.includes(actor.role) ? undefined : actor.id
  const found = await awaitReferenced(store, named, { keyId, limit: maxRequests + 1 })
  const requests = new Map(named.map(({ outcome }, place) => [outcome, found[place]!]))
  return (outcome) => {
    const { of } = outcome
    if (typeof of !== 'string') {
      const found = requests.get(outcome)
      return found === undefined ? noAccess(actor, of.model) : targetsOf(of, found)
    }
    return [{ predictionId: of, answered: answered.get(of), isErased: erased.has(of) }]
  }
}

const noAccess = ({ name }: Actor, model: string): Refused => ({
  code: 'forbidden',
  message: `the key ${name} has no access to the model ${model}`,
})

const refusedFor = (message: string): Refused => ({ code: 'invalid_request', message })

function targetsOf(
  { reference, instance }: ReferencedPrediction,
  requests: Awaited<ReturnType<typeof awaitReferenced>>[number],
): OutcomeTarget[] | Refused {
  const name = `the reference ${quotedName(reference)}`
  if (requests.length > maxRequests)
    return refusedFor(
      `${name} is that of more than ${maxRequests} requests; send the ids of their predictions`,
    )
  const large = requests.find(({ instances }) => instances > 1)
  if (instance === undefined && large !== undefined)
    return refusedFor(
      `${name} is that of the request ${large.id}, which has ${large.instances} rows; name one as "instance", from 0`,
    )
  const place = instance ?? 0
  const targets = requests
    .filter(({ instances }) => place < instances)
    .map(({ id, ...answered }) => ({
      predictionId: id.slice(0, -4) + instanceSuffix(place),
      answered,
      isErased: false,
    }))
  return targets.length === 0 && requests.length > 0
    ? refusedFor(`no request with ${name} has an instance ${place}; the first is 0`)
    : targets
}
