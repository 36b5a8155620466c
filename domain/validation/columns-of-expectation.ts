/** Lists the columns that an expectation reads, so that no other column of millions of rows is held in memory. */
import type { Expectation, ExpectationContext } from './expectations.ts'

export function columnsOfExpectation(
  expectation: Expectation,
  { eventAt }: Pick<ExpectationContext, 'eventAt'>,
): readonly string[] {
  switch (expectation.check) {
    case 'schema':
      return Object.keys(expectation.columns)
    case 'unique':
    case 'complete':
    case 'finite':
      return expectation.columns
    case 'complete_when':
      return [expectation.column, expectation.when]
    case 'ordered':
      return [expectation.low, expectation.high]
    case 'not_swapped':
      return expectation.references.map(({ name }) => name)
    case 'fresh':
    case 'values_kept':
      return eventAt === undefined ? [] : [eventAt]
    case 'rows':
    case 'rows_as_usual':
    case 'left_out':
    case 'no_flood':
      return []
    case 'not_empty':
    case 'in_set':
    case 'between':
    case 'length':
    case 'matches':
    case 'distinct':
    case 'mean':
    case 'std':
    case 'quantile':
    case 'every_class':
    case 'share':
      return [expectation.column]
    case 'as_trained':
      return eventAt === undefined ? [expectation.column] : [expectation.column, eventAt]
    default:
      expectation satisfies never
      // A check of a newer model file: its judgement fails by itself.
      return []
  }
}
