/** Tests how messages and reports write figures. */
import { expect, it } from 'vitest'
import { counted } from '../../domain/figures.ts'

it('a number is written with its noun, in the singular for one', () => {
  expect([0, 1, 2, 1_200].map((count) => counted(count, 'row'))).toEqual([
    '0 rows',
    '1 row',
    '2 rows',
    '1,200 rows',
  ])
})
