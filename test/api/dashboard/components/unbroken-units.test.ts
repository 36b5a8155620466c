/** Tests that a line of a page does not break between a number and its unit. */
import { expect, it } from 'vitest'
import { withUnbrokenUnits } from '../../../../api/dashboard/labels.ts'

it.each([
  [
    '<p>10 of 42 (23.8 %), control 0 % in 2 min 5 s</p>',
    '<p>10 of 42 (23.8\u00a0%), control 0\u00a0% in 2\u00a0min 5\u00a0s</p>',
  ],
  ['<td>3.99 MB</td>', '<td>3.99\u00a0MB</td>'],
  ['<p>5 models, 2 drills, 3 hours</p>', '<p>5 models, 2 drills, 3 hours</p>'],
  ['<time title="5 s">5 s</time>', '<time title="5 s">5\u00a0s</time>'],
  ['<code>soak: 5 min</code> 5 min', '<code>soak: 5 min</code> 5\u00a0min'],
  [
    '<pre tabindex="0">0 %\n</pre><textarea name="reason">0 %</textarea>',
    '<pre tabindex="0">0 %\n</pre><textarea name="reason">0 %</textarea>',
  ],
])('%s', (html, shown) => expect(withUnbrokenUnits(html)).toBe(shown))
