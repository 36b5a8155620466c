/** Tests what `tenure up` prints about the first and later starts. */
import { expect, it } from 'vitest'
import type { System } from '../../../cli/supervisor/system.ts'
import { welcome } from '../../../cli/supervisor/welcome.ts'

const linesOf = (adminKey?: string) =>
  welcome({
    url: 'http://127.0.0.1:7400',
    urls: [],
    log: { path: 'tenure.log' },
    stateDir: '.tenure',
    prepared: { broken: [], adminKey },
  } as unknown as System).join('\n')

it('the first start shows the admin key, and a later one how to create a key', () => {
  expect(linesOf('tnr_1')).toContain('Admin key    tnr_1')
  expect(linesOf('tnr_1')).not.toContain('keys create')
  expect(linesOf()).toContain('npx tenure keys create ada --role approver')
})
