/** Defines behaviour tests: answers that every version must give, whatever its metrics. The model file declares them. */
import type { FeatureRow } from '../model/features.ts'

export type BehaviourTest = ExactTest | InvarianceTest | DirectionTest

/** One row must get this answer. */
export interface ExactTest {
  kind: 'exact'
  name: string
  row: FeatureRow
  /** The class; true or false; a probability or a number; or a number for each quantile. */
  answer: string | number | boolean | readonly number[]
  /** How far a number may be off. */
  within?: number
}

/** What tests on rows of the test set have in common. */
interface SampledTest {
  name: string
  /** The feature that is changed. */
  column: string
  /** At most this many test rows, drawn with the seed of the gate. */
  rows: number
  /** The share of rows that may fail, 0..1. */
  share: number
  /** DuckDB SQL over the columns of a snapshot: the rows that the test is about. */
  where?: string
  /** How far the score may move against the test; the decision must stay, or the score must not move at all, when absent. */
  within?: number
}

/** Setting a column to other values must not change the answer. */
export interface InvarianceTest extends SampledTest {
  kind: 'invariance'
  to: readonly (number | string | null)[]
}

/** Raising a number must not lower the score, or must not raise it. */
export interface DirectionTest extends SampledTest {
  kind: 'direction'
  /** How much is added, each on its own. */
  by: readonly number[]
  never: 'lower' | 'higher'
  /** The class whose probability is meant, or the number of several; of such models only. */
  of?: string
}

/** `not_computed`: neither passed nor failed, so a user must decide. */
export type BehaviourVerdict = 'pass' | 'fail' | 'not_computed'

export interface BehaviourResult {
  verdict: BehaviourVerdict
  /** One sentence with its figures. */
  message: string
  /** The rows that were asked, and how many of them failed. */
  rows: number
  failed: number
  /** The worst rows first; empty where the test passes. */
  examples: readonly BehaviourExample[]
}

export interface BehaviourExample {
  /** Its place among the test rows; absent for the row of an exact test. */
  place?: number
  /** Its features; absent where rows belong to persons. */
  row?: FeatureRow
  /** Absent for an exact test. */
  change?: string
  /** The answer before the change, or the required one, and the answer that was given. */
  before: string
  after: string
}

/** A test with its result for both versions. */
export interface BehaviourRow {
  name: string
  kind: BehaviourTest['kind']
  challenger: BehaviourResult
  /** Absent without a champion. */
  champion?: BehaviourResult
}
