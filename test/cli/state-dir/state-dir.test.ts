/** Tests where the state of an installation lies, and who may enter it. */
import { serverUser } from '@tenure/embedded'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openStateDir, reachable } from '../../../cli/state-dir.ts'

let home: string

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'tenure-state-'))
  chmodSync(home, 0o711)
})
afterAll(() => rmSync(home, { recursive: true }))

describe('paths', () => {
  it('of state lie in the checkout if the servers can enter it', () => {
    expect(openStateDir(undefined, home)).toBe(join(home, '.tenure'))
    expect(openStateDir(join(home, 'asked'), home)).toBe(join(home, 'asked'))
  })

  it("of state admit no other user than Postgres' user", () => {
    const asked = join(home, 'private')
    mkdirSync(asked, { mode: 0o755 })
    openStateDir(asked)
    expect(statSync(asked).mode & 0o777).toBe(serverUser() === undefined ? 0o700 : 0o710)
    expect(reachable(asked, serverUser())).toBe(true)
    if (serverUser() !== undefined) expect(reachable(asked, 12_345)).toBe(false)
  })

  it('of state keep the permissions of a directory that other programs use', () => {
    const shared = join(home, 'shared')
    mkdirSync(shared, { mode: 0o755 })
    writeFileSync(join(shared, 'of-another-program'), '')
    openStateDir(shared)
    expect(statSync(shared).mode & 0o777).toBe(0o755)
  })

  it('are refused if they are not writable', () => {
    const file = join(home, 'file')
    writeFileSync(file, '')
    expect(() => openStateDir(file)).toThrow('is not writable')
    expect(() => openStateDir(join(file, 'below'))).toThrow('ENOTDIR')
  })

  it.runIf(serverUser() === undefined)('are refused where nothing may be written', () => {
    mkdirSync(join(home, 'fixed'), { mode: 0o555 })
    expect(() => openStateDir(join(home, 'fixed'))).toThrow('EACCES')
  })

  it.runIf(serverUser() !== undefined)(
    'of state lie below /var/lib if the servers cannot enter the checkout',
    () => {
      const closed = join(home, 'closed')
      mkdirSync(closed, { mode: 0o700 })
      expect(reachable(closed, serverUser())).toBe(false)
      const chosen = openStateDir(undefined, closed)
      expect(chosen).toMatch(/^\/var\/lib\/tenure\/closed-[0-9a-f]{8}$/)
      expect(openStateDir(undefined, closed)).toBe(chosen)
      rmSync(chosen, { recursive: true })
      expect(() => openStateDir(join(closed, 'asked'))).toThrow('is not accessible')
    },
  )
})
