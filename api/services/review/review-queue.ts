/** Lists predictions for review and stores the labels of reviewers. A review is checked like an outcome. */
import { DomainError } from '../../../domain/errors.ts'
import type { Role } from '../../../domain/roles.ts'
import {
  type ClassBand,
  type Output,
  type ProbabilityBand,
  type OutcomeValue,
  isOfNumbers,
  type NumericOutput,
} from '../../../domain/tasks/output.ts'
import { canonicalOutcome, issueOfOutcome } from '../../../domain/model/outcome.ts'
import { estimateReviewed, type ReviewEstimate, type ReviewStratum } from '../../../domain/review/estimate.ts'
import { awaitAnswered, findOutputs } from '../../../store/monitoring/outcomes.ts'
import { getModel } from '../../../store/registry/models.ts'
import {
  listKnown,
  listWaiting,
  upsertReviews,
  type KnownAnswer,
  type NewReview,
  type WaitingReview,
} from '../../../store/review/reviews.ts'
import type { Actor } from '../../auth/authentication.ts'
import type { ApiDeps } from '../../deps.ts'
import { decisionNames, decisionOf, taskOf } from '../../../domain/tasks/tasks.ts'

/** The roles that may review on the page. */
export const reviewers: readonly Role[] = ['operator', 'approver', 'admin']
/** The number of days that the queue covers; older predictions have already been used. */
export const reviewDays = 7
/** The number of latest requests that are read. */
const requests = 20_000

export interface ReviewQueue {
  model: string
  /** The band of the model file; absent without one. Versions keep the band that they were trained with. */
  band?: ProbabilityBand | ClassBand
  /** The name of true; absent for classes. */
  positive?: string
  /** The possible answers; empty for true and false. */
  classes: readonly string[]
  waiting: (WaitingReview & { answer: OutcomeValue })[]
  /** The counts inside the band and outside. */
  strata: { band: ReviewStratum; rest: ReviewStratum }
  estimate: ReviewEstimate
}

export async function listReviews(
  { store }: Pick<ApiDeps, 'store'>,
  { model: named, limit }: { model: string; limit: number },
): Promise<ReviewQueue> {
  const { name: model } = await getModel(store, named)
  const output = (await findOutputs(store, [model])).get(model)
  // A number has no band.
  if (output === undefined || isOfNumbers(output))
    return {
      model,
      classes: [],
      waiting: [],
      strata: { band: none, rest: none },
      estimate: estimateReviewed([]),
    }
  const span = { model, days: reviewDays, requests }
  const [waiting, known] = await Promise.all([listWaiting(store, { ...span, limit }), listKnown(store, span)])
  const isFlag = taskOf(output).labelKind === 'flag'
  const strata = {
    band: stratumOf(
      output,
      known.filter(({ inBand }) => inBand),
    ),
    rest: stratumOf(
      output,
      known.filter(({ inBand }) => !inBand),
    ),
  }
  return {
    model,
    band: output.review,
    ...(isFlag ? { positive: decisionNames(output)[1], classes: [] } : { classes: decisionNames(output) }),
    waiting: waiting.map((each) => ({ ...each, answer: answerOf(output, each.outputs) })),
    strata,
    estimate: estimateReviewed([strata.band, strata.rest]),
  }
}

const none: ReviewStratum = { predictions: 0, known: 0, right: 0 }

type Decided = Exclude<Output, NumericOutput>

const answerOf = (output: Decided, outputs: readonly number[]): OutcomeValue =>
  taskOf(output).decides!.value(output, decisionOf(output, outputs)!)

function stratumOf(output: Decided, answers: readonly KnownAnswer[]): ReviewStratum {
  const known = answers.filter(({ value }) => value !== undefined)
  const right = known.filter(
    ({ value, outputs }) => canonicalOutcome(output, value!) === answerOf(output, outputs),
  )
  return { predictions: answers.length, known: known.length, right: right.length }
}

/** Stores all reviews or none. Returns how many were new or changed. */
export async function takeReviews(
  { store }: Pick<ApiDeps, 'store'>,
  actor: Actor,
  { model: named, reviews }: { model: string; reviews: readonly NewReview[] },
): Promise<{ received: number; stored: number }> {
  const { name: model } = await getModel(store, named)
  const answered = await awaitAnswered(
    store,
    reviews.map(({ predictionId }) => predictionId),
  )
  const output = (await findOutputs(store, [model])).get(model)
  const given = new Map<string, NewReview>()
  for (const { predictionId, value } of reviews) {
    const id = predictionId.toLowerCase()
    if (answered.get(id)?.model !== model)
      throw new DomainError('not_found', `${model} has no prediction ${predictionId} in its log`)
    const canonical = canonicalOutcome(output, value)
    const issue = output && issueOfOutcome(output, canonical)
    if (issue !== undefined) throw new DomainError('invalid_request', `${predictionId}: ${issue}`)
    if (given.has(id))
      throw new DomainError('invalid_request', `the prediction ${predictionId} has two reviews`)
    given.set(id, { predictionId: id, value: canonical })
  }
  const stored = await upsertReviews(store, { model, reviews: [...given.values()], by: actor.name })
  return { received: reviews.length, stored }
}
