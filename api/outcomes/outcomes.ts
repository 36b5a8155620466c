/**
 * Stores outcomes. Each must belong to a logged prediction of a model that the key can access, and be a possible output of the version that answered. Live
 * quality is measured only on outcomes, so no other check would notice a wrong outcome.
 */
import { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'
import {
  canonicalOutcome,
  issueOfOutcome,
  outcomeOfText,
  type OutcomeValue,
} from '../../domain/model/outcome.ts'
import { findErased } from '../../store/privacy/erased-subjects.ts'
import {
  awaitAnswered,
  findOutputs,
  findVersionOutputs,
  insertOutcomes,
} from '../../store/monitoring/outcomes.ts'
import type { Store } from '../../store/postgres.ts'
import { canAccessModel, type Actor } from '../auth/authentication.ts'
import { labellers } from '../http/route.ts'
import { checkEntry, pastTime } from '../http/schemas.ts'

/** The maximum length of a text outcome, in characters. */
const maxTextLength = 1_000

export const outcomeSchema = (nowMs: () => number) =>
  z.strictObject({
    prediction_id: z.uuid(),
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

export interface SentOutcome {
  /** The position in the request: `outcomes.3`, `line 7`. */
  place: string
  predictionId: string
  value: OutcomeValue
  /** Whether the value comes from a text format and must be parsed. */
  asText?: boolean
  observedAt: string
}

export interface OutcomeResult {
  received: number
  /** Outcomes that are stored now or were stored before. */
  accepted: number
  /** Outcomes that are new or corrections. */
  stored: number
  /** Outcomes of predictions that are not in the prediction log. */
  unknown: number
  refused: { place: string; message: string; code: 'invalid_request' | 'forbidden' }[]
}

/**
 * Stores at most one outcome per prediction. A predictor may send only outcomes of its own predictions: the key of one service must not
 * affect the quality measured for another. Outcomes of unknown predictions are stored, because the log may be more than a second behind.
 * This applies only to keys that may send outcomes of all models, and not to erased requests. With `atomic`, one refused outcome refuses
 * all.
 */
export async function storeOutcomes(
  { store, actor }: { store: Store; actor: Actor },
  sent: readonly SentOutcome[],
  { atomic }: { atomic: boolean },
): Promise<OutcomeResult> {
  const answered = await awaitAnswered(store, sent.map(idOf))
  const unlogged = sent.filter(({ predictionId }) => !answered.has(predictionId.toLowerCase()))
  const erased = unlogged.length === 0 ? new Set() : await findErased(store, unlogged.map(idOf))
  const models = new Set([...answered.values()].map(({ model }) => model))
  const outputs = await findOutputs(store, [...models])
  // The output in the model file may have changed since the version was trained.
  const versions = await findVersionOutputs(store, [
    ...new Set([...answered.values()].map(({ version }) => version)),
  ])
  const mayLabelAll = labellers.includes(actor.role)
  const refused: OutcomeResult['refused'] = []
  const kept: SentOutcome[] = []
  let unknown = 0
  for (const each of sent) {
    const { place, predictionId } = each
    const found = answered.get(predictionId.toLowerCase())
    const now = found && outputs.get(found.model)
    const output = found && (versions.get(found.version) ?? now)
    const given = each.asText === true ? outcomeOfText(output, String(each.value)) : each.value
    const value = canonicalOutcome(output, given)
    if (found === undefined) {
      unknown++
      if (mayLabelAll && actor.models === undefined && !erased.has(predictionId))
        kept.push({ ...each, value })
      continue
    }
    const issue = output === undefined ? undefined : issueOfOutcome(output, value, now)
    const forbidden = !canAccessModel(actor, found.model)
      ? `the key ${actor.name} has no access to the model ${found.model}`
      : !mayLabelAll && found.keyId !== actor.id
        ? `the prediction was not made with the key ${actor.name}; use a key with the role labeller`
        : undefined
    if (forbidden !== undefined) refused.push({ place, code: 'forbidden', message: forbidden })
    else if (issue !== undefined) refused.push({ place, code: 'invalid_request', message: `value: ${issue}` })
    else kept.push({ ...each, value })
  }
  const nothing = kept.length === 0 || (atomic && refused.length > 0)
  const stored = nothing ? 0 : await insertOutcomes(store, { source: actor.name, outcomes: kept })
  return { received: sent.length, accepted: kept.length, stored, unknown, refused }
}

const idOf = ({ predictionId }: SentOutcome): string => predictionId

/** Throws with the code of the first refused outcome; the message lists the first 20. */
export function requireNoneRefused({ refused }: Pick<OutcomeResult, 'refused'>): void {
  const [first] = refused
  if (first === undefined) return
  const issues = refused.slice(0, 20).map(({ place, message }) => `${place}: ${message}`)
  throw new DomainError(first.code, issues.join('; '), { issues, refused: refused.length })
}

export const sentOutcome = (
  { prediction_id, value, observed_at }: z.infer<ReturnType<typeof outcomeSchema>>,
  place: string,
): SentOutcome => ({ place, predictionId: prediction_id.toLowerCase(), value, observedAt: observed_at })

/** Checks a value and returns the outcome, or the error message. */
export type OutcomeCheck = (value: unknown, place: string) => SentOutcome | string

export function createOutcomeCheck(nowMs: () => number): OutcomeCheck {
  const schema = outcomeSchema(nowMs)
  return (value, place) => {
    const checked = checkEntry(schema, value)
    return 'issue' in checked ? checked.issue : sentOutcome(checked.data, place)
  }
}
