/** Tests, with the bench's simulator, that no good champion would be rolled back. `npm run bench -- watch` runs the years. */
import { expect, it } from 'vitest'
import { patterns, simulateChampion, ticksAYear } from '../watch/years.ts'

it.each(patterns.map((pattern) => [pattern.name, pattern] as const))(
  'a good champion is not rolled back: %s',
  (_name, pattern) => {
    expect(simulateChampion(pattern, Math.round(ticksAYear / 10), 3).rolledBack).toBe(0)
  },
)
