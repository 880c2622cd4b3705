// SPDX-License-Identifier: Apache-2.0
//
// Commands of the probe on what routes need: reports, trains, policies, memory.

#ifndef SPLITC_TESTS_PROBE_ROUTES_H_
#define SPLITC_TESTS_PROBE_ROUTES_H_

// report CHUNKS; a payload. What is read of it, as text.
Bytes ReportOf(const Words& words, const Bytes& data) {
  const auto chunks = static_cast<uint32_t>(Number(words[1]));
  const std::optional<Report> report = ReadReport(data.data(), data.size(), chunks);
  std::string text = "nothing";
  if (report) {
    text.clear();
    for (const uint32_t value : {report->chunks, report->came, report->spread_us,
                                 report->spread_bytes, report->wait_us, report->tail_us}) {
      text += (text.empty() ? "" : " ") + Decimal(value);
    }
  }
  return Bytes(text.begin(), text.end());
}

// train BYTES; when each packet came, as doubles. The bandwidth, or nothing.
Bytes TrainOf(const Words& words, const Bytes& data) {
  std::vector<double> arrivals_s;
  for (size_t at = 0; at < data.size(); at += 8) arrivals_s.push_back(Taken<double>(data, at));
  Bytes result;
  if (const auto bps = TrainBandwidth(arrivals_s, Number(words[1]))) Append(*bps, &result);
  return result;
}

double Real(const std::string& word) { return std::strtod(word.c_str(), nullptr); }

FrameReport ReportIn(const Words& words, size_t at) {
  return {Real(words[at]),     Number(words[at + 1]), Real(words[at + 2]),
          Real(words[at + 3]), static_cast<uint32_t>(Number(words[at + 4])),
          static_cast<uint32_t>(Number(words[at + 5]))};
}

void AppendState(const LinkState& state, Bytes* to) {
  Append(state.bandwidth_bps.value_or(-1), to);
  Append(state.loss_rate, to);
  Append(state.rtt_s.value_or(-1), to);
  Append(state.head_load, to);
  Append(state.tail_load, to);
  Append(state.wait_s, to);
}

// policy LOSES WITHIN_S MARGIN HOLD_S, WITHIN_S below 0 for none; lines of words:
//   option HEAD_S BYTES PACKETS TAIL_S LINK_S AGREEMENT   (all of them first)
//   point CPU BPS ROUTE   (behind them: then it is by a map, and not by what it has measured)
//   head ROUTE S | report ROUTE NOW REPORT | answered S REPORT | bandwidth BPS NOW | route NOW
// For each "route": the state as six doubles (-1 where it is not known), whether a probe is
// wanted, and the route's place, a byte each.
Bytes PolicyOf(const Words& words, const Bytes& data) {
  std::vector<RouteOption> options;
  const bool loses = words[1] == "1";
  Adaptive policy{std::nullopt, Real(words[3]), Real(words[4]), Real(words[5])};
  if (Real(words[2]) >= 0) policy.within_s = Real(words[2]);
  std::optional<Gauge> gauge;
  std::vector<MapChooser::Point> points;
  std::optional<AdaptiveChooser> chooser;
  std::optional<MapChooser> map;
  Bytes result;
  for (const std::string& line : Split(std::string(data.begin(), data.end()), '\n')) {
    const Words event = Split(line, ' ');
    if (event[0] == "option") {
      options.push_back({"", Real(event[1]), Number(event[2]),
                         Number(event[3]), Real(event[4]), Real(event[5]),
                         Real(event[6])});
      continue;
    }
    if (event[0] == "point") {
      points.push_back({Real(event[1]), Real(event[2]), Number(event[3])});
      continue;
    }
    if (!gauge) {
      gauge.emplace(options, loses);
      chooser.emplace(policy, options);
      if (!points.empty()) map.emplace(points, policy.hold_s, options);
    }
    if (event[0] == "head") gauge->Head(Number(event[1]), Real(event[2]));
    if (event[0] == "report") {
      gauge->Report(Number(event[1]), ReportIn(event, 3), Real(event[2]));
    }
    if (event[0] == "answered") gauge->Answered(ReportIn(event, 2), Real(event[1]));
    if (event[0] == "bandwidth") gauge->Bandwidth(Real(event[1]), Real(event[2]));
    if (event[0] != "route") continue;
    const LinkState state = gauge->state();
    AppendState(state, &result);
    Append(gauge->WantsProbe(Real(event[1])), &result);
    const double now = Real(event[1]);
    Append(static_cast<uint8_t>(map ? map->Route(state, now) : chooser->Route(state, now)),
           &result);
  }
  return result;
}

// layout; lines of words:
//   part SCRATCH OUTPUTS INPUTS   (NAME:BYTES,... and NAME:BYTES,...)
//   run PARTS KEPT   (numbers of parts, and NAME:BYTES of what is kept)
// The size of the block, and each output's offset in the order of parts, 64 bits each.
Bytes LayoutOf(const Words&, const Bytes& data) {
  const auto tensors = [](const std::string& text) {
    std::vector<TensorSpec> specs;
    for (const std::string& one : Split(text, ',')) {
      const size_t colon = one.find(':');
      if (colon == std::string::npos) continue;
      TensorSpec spec;
      spec.name = one.substr(0, colon);
      spec.bytes = Number(one.substr(colon + 1));
      specs.push_back(spec);
    }
    return specs;
  };
  std::vector<std::unique_ptr<Manifest>> parts;
  std::vector<std::unique_ptr<TensorSpec>> kept;
  std::vector<Run> runs;
  for (const std::string& line : Split(std::string(data.begin(), data.end()), '\n')) {
    const Words words = Split(line, ' ');
    if (words[0] == "part") {
      parts.push_back(std::make_unique<Manifest>());
      parts.back()->activation_bytes = Number(words[1]);
      parts.back()->outputs = tensors(words[2]);
      parts.back()->inputs = tensors(words[3]);
      continue;
    }
    Run& run = runs.emplace_back();
    for (const std::string& number : Split(words[1], ',')) {
      run.parts.push_back(parts[Number(number)].get());
    }
    for (const TensorSpec& spec : tensors(words[2])) {
      kept.push_back(std::make_unique<TensorSpec>(spec));
      run.kept.push_back(kept.back().get());
    }
  }
  const Layout layout = LayOut(runs);
  Bytes result;
  Append(layout.bytes, &result);
  for (const auto& part : parts) {
    for (const TensorSpec& output : part->outputs) {
      for (const Layout::Placed& one : layout.placed) {
        if (SameTensor(one.spec, output)) Append(one.offset, &result);
      }
    }
  }
  return result;
}

#endif  // SPLITC_TESTS_PROBE_ROUTES_H_
