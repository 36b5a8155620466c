/** Tests which path `tenure backup` refuses before it opens the installation. */
import { expect, it } from 'vitest'
import { backupCommand } from '../../../../cli/commands/admin/backup.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { runCommand } from '../../../support/command-line.ts'

it('a single word that is no directory is refused as a path, because it may be a mistyped command', async () => {
  const { code, err } = await runCommand([backupCommand], ['backup', 'list'])
  expect(code).toBe(exitCodes.usage)
  expect(err).toContain('list is no command of backup and no directory')
  expect(err).toContain('Write ./list for a file of that name')
})
