/**
 * Stores outcomes. Each must belong to a logged prediction of a model that the key can access, and be a possible output of the version that answered. Live
 * quality is measured only on outcomes, so no other check would notice a wrong outcome.
 */
import { z } from 'zod'
import { DomainError, quotedName } from '../../domain/errors.ts'
import { canonicalOutcome, issueOfOutcome, outcomeOfText } from '../../domain/model/outcome.ts'
import {
  findOutputs,
  findVersionOutputs,
  insertOutcomes,
  type Outcome,
} from '../../store/monitoring/outcomes.ts'
import type { Store } from '../../store/postgres.ts'
import type { Actor } from '../auth/authentication.ts'
import { labellers } from '../http/route.ts'
import { checkEntry, modelName, pastTime } from '../http/schemas.ts'
import { maxReferenceLength } from '../serving/codec/caller-texts.ts'
import { findTargets, type ReferencedPrediction, type Refused, type OutcomeTarget } from './targets.ts'
import type { OutcomeValue } from '../../domain/tasks/output.ts'

/** The maximum length of a text outcome, in characters. */
const maxTextLength = 1_000
/** The last two bytes of a prediction's id. */
const maxInstance = 65_535

export const outcomeSchema = (nowMs: () => number) =>
  z
    .strictObject({
      prediction_id: z.uuid().optional(),
      /** The model and the reference of a request, and the index of the row where the request has several. */
      model: modelName.optional(),
      reference: z.string().min(1).max(maxReferenceLength).optional(),
      instance: z.int().min(0).max(maxInstance).optional(),
      value: z.union(
        [
          z.number(),
          z.string().max(maxTextLength),
          z.boolean(),
          z.record(z.string().max(maxTextLength), z.number()),
        ],
        {
          error: `is a finite number, a text of at most ${maxTextLength} characters, true, false, or an object of numbers`,
        },
      ),
      /** Up to a minute ahead of the database's clock, because clocks differ. */
      observed_at: pastTime(nowMs),
    })
    .refine(({ prediction_id: id, reference }) => (id === undefined) !== (reference === undefined), {
      error: 'has either a prediction_id or a reference',
    })
    .refine(({ model, reference }) => (model === undefined) === (reference === undefined), {
      error: 'has a model with a reference, and only then',
    })
    .refine(({ instance, reference }) => instance === undefined || reference !== undefined, {
      error: 'has an instance without a reference',
    })

export interface SentOutcome {
  /** The position in the request: `outcomes.3`, `line 7`. */
  place: string
  /** The prediction by its id, in lower case, or by the reference of its request. */
  of: string | ReferencedPrediction
  value: OutcomeValue
  /** Whether the value comes from a text format and must be parsed. */
  asText?: boolean
  observedAt: string
}

export interface OutcomeResult {
  received: number
  /** Outcomes that are stored now or were stored before. */
  accepted: number
  /** Outcomes that are new or corrections, for each prediction that a reference names. */
  stored: number
  /** Outcomes of predictions that are not in the prediction log. */
  unknown: number
  /** The unknown ones that name a reference. They are not stored. */
  lost: { place: string; message: string; code: 'not_found' }[]
  refused: (Refused & { place: string })[]
}

/**
 * Stores outcomes, several of a prediction in their order. With `atomic`, a prediction has at most one, and one refused outcome refuses
 * all. A predictor may send only outcomes of its own predictions: the key of one service must not affect the quality measured for another.
 * Outcomes of unknown ids are stored, because the log may be more than a second behind. This applies only to keys that may send outcomes
 * of all models, and not to erased requests. An unknown reference is not stored: it may name a person, and an erasure finds a reference
 * only in the log.
 */
export async function storeOutcomes(
  { store, actor }: { store: Store; actor: Actor },
  sent: readonly SentOutcome[],
  { atomic, turn }: { atomic: boolean; turn?: () => Promise<void> },
): Promise<OutcomeResult> {
  const targetsOf = await findTargets({ store, actor }, sent)
  const targets = sent.map(targetsOf)
  const judge = await createJudge(
    { store, actor },
    targets.flatMap((found) => ('message' in found ? [] : found)),
  )
  const rounds: Map<string, Outcome>[] = []
  const lost: OutcomeResult['lost'] = []
  const refused: OutcomeResult['refused'] = []
  let unknown = 0
  let accepted = 0
  const take = (each: SentOutcome, index: number): void => {
    const { place, of } = each
    const found = targets[index]!
    const judged = 'message' in found ? [found] : found.map((target) => judge(each, target))
    const kept: Outcome[] = []
    for (const one of judged)
      if (one === undefined) continue
      else if ('message' in one) return void refused.push({ place, ...one })
      else if (atomic && rounds[0]?.has(one.predictionId) === true)
        return void refused.push({
          place,
          code: 'invalid_request',
          message: `the prediction ${one.predictionId} has two outcomes`,
        })
      else kept.push(one)
    if (!('message' in found) && found.every(({ answered }) => answered === undefined)) unknown++
    if (typeof of !== 'string' && judged.length === 0)
      lost.push({
        place,
        code: 'not_found',
        message: `no request of ${of.model} with the reference ${quotedName(of.reference)} is in the prediction log`,
      })
    if (kept.length > 0) accepted++
    for (const outcome of kept) addToRound(rounds, outcome)
  }
  for (const [index, each] of sent.entries()) {
    await turn?.()
    take(each, index)
  }
  let stored = 0
  if (!atomic || refused.length === 0)
    for (const round of rounds)
      stored += await insertOutcomes(store, { source: actor.name, outcomes: [...round.values()] })
  return { received: sent.length, accepted, stored, unknown, lost, refused }
}

/** Adds to the first statement that has no outcome of the prediction yet. */
function addToRound(rounds: Map<string, Outcome>[], outcome: Outcome): void {
  let round = rounds.find((each) => !each.has(outcome.predictionId))
  if (round === undefined) rounds.push((round = new Map()))
  round.set(outcome.predictionId, outcome)
}

/**
 * Returns a function that returns the outcome of a prediction as it is stored, why it is refused, or undefined for one that is not kept. The
 * output in the model file may have changed since the version was trained.
 */
async function createJudge(
  { store, actor }: { store: Store; actor: Actor },
  targets: readonly OutcomeTarget[],
) {
  const answers = targets.flatMap(({ answered }) => (answered === undefined ? [] : [answered]))
  const outputs = await findOutputs(store, [...new Set(answers.map(({ model }) => model))])
  const versions = await findVersionOutputs(store, [...new Set(answers.map(({ version }) => version))])
  const mayLabelAll = labellers.includes(actor.role)
  return (
    { value: sent, asText, observedAt }: SentOutcome,
    { predictionId, answered, isErased }: OutcomeTarget,
  ): Outcome | Refused | undefined => {
    const now = answered && outputs.get(answered.model)
    const output = answered && (versions.get(answered.version) ?? now)
    const given = asText === true ? outcomeOfText(output, String(sent)) : sent
    const outcome = { predictionId, value: canonicalOutcome(output, given), observedAt }
    if (answered === undefined)
      return mayLabelAll && actor.models === undefined && !isErased ? outcome : undefined
    if (!mayLabelAll && answered.keyId !== actor.id)
      return {
        code: 'forbidden',
        message: `the prediction was not made with the key ${actor.name}; use a key with the role labeller`,
      }
    const issue = output === undefined ? undefined : issueOfOutcome(output, outcome.value, now)
    return issue === undefined ? outcome : { code: 'invalid_request', message: `value: ${issue}` }
  }
}

/** Throws with the code of the first refused outcome; the message lists the first 20. */
export function requireNoneRefused({ refused }: Pick<OutcomeResult, 'refused'>): void {
  const [first] = refused
  if (first === undefined) return
  const issues = refused.slice(0, 20).map(({ place, message }) => `${place}: ${message}`)
  throw new DomainError(first.code, issues.join('; '), { issues, refused: refused.length })
}

export const sentOutcome = (sent: z.infer<ReturnType<typeof outcomeSchema>>, place: string): SentOutcome => {
  const { prediction_id: id, model = '', reference = '', instance, value, observed_at: observedAt } = sent
  return { place, of: id?.toLowerCase() ?? { model, reference, instance }, value, observedAt }
}

/** Checks a value and returns the outcome, or the error message. */
export type OutcomeCheck = (value: unknown, place: string) => SentOutcome | string

export function createOutcomeCheck(nowMs: () => number): OutcomeCheck {
  const schema = outcomeSchema(nowMs)
  return (value, place) => {
    const checked = checkEntry(schema, value)
    return 'issue' in checked ? checked.issue : sentOutcome(checked.data, place)
  }
}
