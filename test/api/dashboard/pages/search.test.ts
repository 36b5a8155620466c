/** Tests the words beside a search result. */
import { expect, it } from 'vitest'
import { detailText } from '../../../../api/dashboard/pages/search/search.tsx'

it.each([
  ['rolled_back: 7 of 533 canary requests failed', 'rolled back: 7 of 533 canary requests failed'],
  ['rolled_back: rolled back by ada: slow', 'rolled back: by ada: slow'],
  ['awaiting_approval', 'awaiting approval'],
  ['by demo-scheduler', 'by demo-scheduler'],
])('%s is shown as: %s', (detail, text) => expect(detailText(detail)).toBe(text))
