/** Tests the name of the local user in the audit log. */
import { userInfo } from 'node:os'
import { expect, it } from 'vitest'
import { localActor } from '../../cli/local-actor.ts'

it('the local user is named, also where the system has no name for its id', () => {
  const read = (): never => {
    throw new Error('A system error occurred: uv_os_get_passwd returned ENOENT (no such file or directory)')
  }
  expect([localActor(), localActor(read)]).toEqual([
    `cli/${userInfo().username}`,
    `cli/uid-${process.getuid?.()}`,
  ])
})
