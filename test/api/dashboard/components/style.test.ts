/** Tests what holds for the styles of all pages. */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

const style = readFileSync(new URL('../../../../api/dashboard/assets/style.css', import.meta.url), 'utf8')

it('type has four sizes: 13, 15, 20 and 28 px; code is as large as it looks in the text around it', () => {
  const sizes = Array.from(style.matchAll(/font-size: ([^;]+);/g), ([, size]) => size)
  expect(new Set(sizes)).toEqual(new Set(['1rem', '0.9em', 'var(--small)', 'var(--heading)', 'var(--title)']))
  expect(style).toContain('15px/1.5 system-ui')
  for (const size of ['--small: 13px', '--heading: 20px', '--title: 28px']) expect(style).toContain(size)
})
