// One measurement of BullMQ: node bullmq.mjs '{"mode": …}'. The last line that it prints
// is the figures in JSON.
import { Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'

const a = JSON.parse(process.argv[2])
const open = () => new Redis(a.socket, { maxRetriesPerRequest: null, enableAutoPipelining: a.auto })
const now = () => Number(process.hrtime.bigint()) / 1e6
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const payload = 'x'.repeat(a.bytes)
const options = { removeOnComplete: true }
const job = (o) => ({ name: 'work', data: payload, opts: { ...options, ...o } })
const queue = new Queue('work', { connection: open() })

let ran = 0
let first = 0
let last = 0
let onRun = async () => {}
const start = async () => {
  const workers = Array.from({ length: a.workers }, () => new Worker('work', async (j) => {
    if (ran++ === 0) first = now()
    last = now()
    await onRun(j)
  }, { connection: open(), concurrency: a.slots }))
  await Promise.all(workers.map((w) => w.waitUntilReady()))
}
const until = async (done) => {
  for (const end = now() + a.patience; !done() && now() < end;) await sleep(1)
}
const quantiles = (all) => {
  all.sort((x, y) => x - y)
  return [all[Math.floor(all.length / 2)] * 1e3, all[Math.floor(all.length * 0.99)] * 1e3]
}

// callers add one job after the other, and return how many they added.
const call = async (ms) => {
  const end = now() + ms
  let n = 0
  await Promise.all(Array.from({ length: a.callers }, async () => {
    for (; now() < end; n++) await queue.add('work', payload, options)
  }))
  return n
}
// fill adds jobs in bulk, 500 at a time, two batches on their way.
const fill = async (count) => {
  let left = count
  const send = async () => {
    while (left > 0) {
      const n = Math.min(500, left)
      left -= n
      await queue.addBulk(Array.from({ length: n }, () => job()))
    }
  }
  await Promise.all([send(), send()])
}

const modes = {
  async enqueue() {
    await call(a.warm)
    const from = now()
    return [await call(a.ms) * 1e3 / (now() - from)]
  },
  async bulk() {
    const from = now()
    await fill(a.count)
    return [a.count * 1e3 / (now() - from)]
  },
  async flow() {
    await start()
    let n = await call(a.warm)
    await until(() => ran >= n)
    const before = ran
    const from = now()
    n = await call(a.ms)
    await until(() => ran - before >= n)
    return [(ran - before) * 1e3 / (now() - from)]
  },
  async process() {
    await fill(a.count)
    await start()
    await until(() => ran >= a.count)
    return [(ran - 1) * 1e3 / (last - first)]
  },
  // handlers take some of the times of a.takes, each with its share.
  async handlers() {
    onRun = () => sleep(a.takes[Math.floor(Math.random() * a.takes.length)])
    await fill(a.count)
    await start()
    await until(() => ran > 0)
    await sleep(a.warm)
    const before = ran
    const from = now()
    await sleep(a.ms)
    return [(ran - before) * 1e3 / (now() - from)]
  },
  async pickup() {
    const took = []
    let began = 0
    onRun = async () => { took.push(now() - began) }
    await start()
    for (let i = 1; i <= a.count; i++) {
      await sleep(50)
      began = now()
      await queue.add('work', payload, options)
      await until(() => took.length === i)
    }
    return quantiles(took)
  },
  async delayed() {
    const late = []
    onRun = async (j) => { late.push(performance.timeOrigin + performance.now() - j.data) }
    await start()
    const from = now()
    let sent = 0
    for (; now() - from < a.ms; sent++) {
      await sleep(from + sent * 1e3 / a.rate - now())
      const due = Math.ceil(performance.timeOrigin + performance.now()) + 1000
      void queue.add('work', due, { ...options, timestamp: due - 1000, delay: 1000 })
    }
    await until(() => late.length >= sent)
    return quantiles(late)
  },
  async rest() {
    await start()
    await sleep(a.warm)
    const client = open()
    const commands = async () => Number(/total_commands_processed:(\d+)/.exec(await client.info('stats'))[1])
    const [before, cpu, from] = [await commands(), process.cpuUsage(), now()]
    await sleep(a.ms)
    const used = process.cpuUsage(cpu)
    const took = (now() - from) / 1e3
    return [(await commands() - before) / took, (used.user + used.system) / 1e6 * 60 / took]
  },
}

console.log(JSON.stringify(await modes[a.mode]()))
process.exit(0)
