/** Defines behaviour tests: requirements on answers that every version must meet, whatever its metrics. The model file declares them. */
import type { FeatureRow } from '../model/features.ts'

export type BehaviourTest = ExactTest | InvarianceTest | DirectionTest

/** The answer to one row must be this one. */
export interface ExactTest {
  kind: 'exact'
  name: string
  row: FeatureRow
  /** A class; true or false; a probability or a number; or one number per quantile. */
  answer: string | number | boolean | readonly number[]
  /** The tolerance of a number. */
  within?: number
}

/** The common fields of tests on rows of the test set. */
interface SampledTest {
  name: string
  /** The feature that is changed. */
  column: string
  /** The most test rows to use; they are drawn with the seed of the gate. */
  rows: number
  /** The share of rows that may fail, 0..1. */
  share: number
  /** A DuckDB SQL condition over the columns of a snapshot, which selects the rows of the test. */
  where?: string
  /** How far the score may move against the test. Absent: the decision must stay the same, or the score must not move at all. */
  within?: number
}

/** Requires that setting a column to other values does not change the answer. */
export interface InvarianceTest extends SampledTest {
  kind: 'invariance'
  to: readonly (number | string | null)[]
}

/** Requires that raising a number does not lower the score, or does not raise it. */
export interface DirectionTest extends SampledTest {
  kind: 'direction'
  /** The amounts to add, each tested on its own. */
  by: readonly number[]
  never: 'lower' | 'higher'
  /** The class whose probability is tested, or one of several numbers. For such models only. */
  of?: string
}

/** `not_computed`: neither passed nor failed, so a user must decide. */
export type BehaviourVerdict = 'pass' | 'fail' | 'not_computed'

export interface BehaviourResult {
  verdict: BehaviourVerdict
  /** One sentence with its figures. */
  message: string
  /** The number of rows tested, and how many of them failed. */
  rows: number
  failed: number
  /** The worst rows first; empty when the test passes. */
  examples: readonly BehaviourExample[]
}

export interface BehaviourExample {
  /** The position in the test rows; absent for the row of an exact test. */
  place?: number
  /** The features of the row; absent when rows belong to data subjects. */
  row?: FeatureRow
  /** Absent for an exact test. */
  change?: string
  /** The answer before the change (or the required answer), and the given answer. */
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
