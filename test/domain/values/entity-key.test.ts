/** Tests which values identify an entity. */
import { expect, it } from 'vitest'
import { entityKey } from '../../../domain/values/names.ts'

it.each([
  [['hall', 7], 'hall\u001f7'],
  [[0.5], '0.5'],
  [['9007199254740993'], '9007199254740993'],
  // A JSON reader has rounded it.
  [[9_007_199_254_740_992], undefined],
  [[Number.NaN], undefined],
  [[null], undefined],
  [['a\u001fb'], undefined],
])('%j is %j', (parts, key) => expect(entityKey(parts)).toBe(key))
