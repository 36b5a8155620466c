/** Tests which backups are kept. */
import { describe, expect, it } from 'vitest'
import { expiredBackups } from '../../../cli/backup/expired-backups.ts'

const backups = (text: string) => text.split('').map((sign, at) => ({ name: `${at}`, isGood: sign === '+' }))

describe('expiredBackups', () => {
  it.each([
    ['keeps the newest good ones', '+++++', 3, ['0', '1']],
    ['keeps all while there are fewer good ones than wanted', '++', 3, []],
    ['never lets bad ones push out the last good one', '+-----', 1, []],
    ['counts only good ones', '+-+-+', 2, ['0', '1']],
    ['keeps all without a good one', '---', 1, []],
    ['keeps the newest of many, and what follows it', '++-', 1, ['0']],
  ])('%s', (_title, text, keep, expired) => {
    expect(expiredBackups(backups(text), keep)).toEqual(expired)
    expect(expiredBackups(backups(text).reverse(), keep).toSorted()).toEqual(expired)
  })
})
