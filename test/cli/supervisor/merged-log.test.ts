import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { foldRepeated, openMergedLog, readableLine } from '../../../cli/supervisor/system.ts'

let dir: string
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'tenure-log-'))))
afterEach(() => rmSync(dir, { recursive: true }))

describe('the merged log', () => {
  it('formats an entry as one line', () => {
    const line = JSON.stringify({
      level: 40,
      time: Date.UTC(2001, 1, 3, 9, 14, 7, 312),
      pid: 7,
      hostname: 'h',
      msg: 'rolled back',
      release: 'rel_1',
      reasons: ['errors'],
    })
    expect(readableLine('worker', line)).toBe(
      '2001-02-03T09:14:07.312Z worker   warn  rolled back release=rel_1 reasons=["errors"]',
    )
  })

  it('keeps lines that are not JSON', () => {
    const at = new Date(Date.UTC(2001, 1, 3, 9, 0, 0))
    expect(readableLine('postgres', 'LOG:  ready', at)).toBe('2001-02-03T09:00:00.000Z postgres LOG:  ready')
    expect(readableLine('api', '{broken', at)).toBe('2001-02-03T09:00:00.000Z api      {broken')
  })

  it('joins multi-line entries', () => {
    const line = JSON.stringify({ level: 50, time: 0, msg: 'failed', error: 'Error: no\n    at a\n    at b' })
    expect(readableLine('api', line)).toBe(
      '1970-01-01T00:00:00.000Z api      error failed error=Error: no | at a | at b',
    )
  })

  it('shows control characters instead of writing them', () => {
    const line = JSON.stringify({ level: 30, time: 0, msg: 'said', reason: '\u001b[2Jgone\u009b' })
    expect(readableLine('api', line)).toBe(
      String.raw`1970-01-01T00:00:00.000Z api      info  said reason=\u001b[2Jgone\u009b`,
    )
    expect(readableLine('postgres', '\u001b]0;title\u0007')).toContain(String.raw`\u001b]0;title\u0007`)
  })

  it('keeps the last lines of each process', async () => {
    const log = openMergedLog(dir)
    for (let n = 0; n < 20; n++) log.write('api', `line ${n}`)
    log.write('train', 'other')
    expect(log.tail('api').map((line) => line.split(' ').at(-1))).toEqual(
      Array.from({ length: 8 }, (_, n) => String(n + 12)),
    )
    expect(log.tail('control')).toEqual([])
    await log.close()
  })

  it('appends, skips empty lines and echoes', async () => {
    const echoed: string[] = []
    for (const text of ['one', '', 'two']) {
      const log = openMergedLog(dir, (line) => echoed.push(line))
      log.write('api', text)
      await log.close()
    }
    const lines = readFileSync(join(dir, 'tenure.log'), 'utf8').trimEnd().split('\n')
    expect(lines.map((line) => line.split(' ').at(-1))).toEqual(['one', 'two'])
    expect(echoed).toEqual(lines)
  })

  it('redacts secrets of every process', async () => {
    const log = openMergedLog(dir)
    log.write('postgres', `STATEMENT:  alter role tenure_app login password 'hunter2'`)
    log.write('api', JSON.stringify({ level: 40, msg: 'no answer', cause: 'postgres://u:hunter2@h/db' }))
    expect(log.tail('postgres')[0]).toMatch(/password '\[redacted\]'$/)
    await log.close()
    expect(readFileSync(join(dir, 'tenure.log'), 'utf8')).not.toContain('hunter2')
  })

  it('rotates a large file', async () => {
    writeFileSync(join(dir, 'tenure.log'), 'x'.repeat(20_000_001))
    const log = openMergedLog(dir)
    log.write('api', 'fresh')
    await log.close()
    expect(readFileSync(join(dir, 'tenure.log'), 'utf8')).toMatch(/^\S+ api {6}fresh\n$/)
    expect(readFileSync(join(dir, 'tenure.log.1')).length).toBe(20_000_001)
  })

  it('rotates while it runs', async () => {
    const log = openMergedLog(dir)
    const line = 'x'.repeat(1_000_000)
    for (let n = 0; n < 22; n++) {
      log.write('api', line)
      await log.close()
    }
    expect(statSync(join(dir, 'tenure.log.1')).size).toBeGreaterThan(20_000_000)
    expect(statSync(join(dir, 'tenure.log')).size).toBeLessThan(3_000_000)
  })

  it('drops and counts lines while the disk has no room, and goes on when there is some', async () => {
    symlinkSync('/dev/full', join(dir, 'tenure.log'))
    const log = openMergedLog(dir)
    log.write('api', 'lost')
    await log.close()
    unlinkSync(join(dir, 'tenure.log'))
    log.write('api', 'kept')
    await log.close()
    expect(readFileSync(join(dir, 'tenure.log'), 'utf8')).toMatch(
      /tenure +1 lines were dropped: ENOSPC.*\n\S+ api +kept\n$/,
    )
  })
})

describe('lines that repeat', () => {
  it('are shown three times in ten seconds, then counted, and others pass', () => {
    const shown: string[] = []
    let now = 0
    const show = foldRepeated(
      (line) => shown.push(line),
      () => now,
    )
    const lineAt = (at: number) => `09:14:07.${100 + at} postgres FATAL: no space, pid ${at}`
    for (let at = 0; at < 500; at++) show(lineAt(at))
    show('09:14:08.000 api      info  ready')
    now = 10_000
    show(lineAt(500))
    expect(shown).toEqual([
      lineAt(0),
      lineAt(1),
      lineAt(2),
      '09:14:08.000 api      info  ready',
      `${lineAt(500)} (497 more like it before)`,
    ])
  })
})
