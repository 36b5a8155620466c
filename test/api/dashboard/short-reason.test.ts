import { expect, it } from 'vitest'
import { shortReason } from '../../../api/dashboard/labels.ts'

it.each([
  ['auc is below its floor; brier is worse', 'auc is below its floor …'],
  ['too few rows', 'too few rows'],
  ['', ''],
  [
    'python3 train.py failed: exit code 2\nTraceback (most recent call last):\n  File "train.py", line 3\n    fit(a; b)\nValueError: no rows; give some\n',
    'python3 train.py failed: exit code 2: ValueError: no rows; give some',
  ],
])('the reason %j in a list is %j', (reason, short) => expect(shortReason(reason)).toBe(short))
