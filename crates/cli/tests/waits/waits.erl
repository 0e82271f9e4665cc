%% Waits for some seconds in each of Erlang's ways, and prints how long each lasted by both clocks.
-module(waits).
-export([main/1]).

main([Seconds | _]) ->
    Time = round(list_to_float(Seconds) * 1000),
    check("receive", fun() -> receive after Time -> ok end end),
    check("sleep", fun() -> timer:sleep(Time) end),
    check("send_after", fun() ->
        erlang:send_after(Time, self(), done),
        receive done -> ok end
    end),
    check("deadline", fun() ->
        erlang:start_timer(erlang:monotonic_time(millisecond) + Time, self(), done, [{abs, true}]),
        receive {timeout, _, done} -> ok end
    end),
    check("tick", fun() ->
        {ok, Timer} = timer:send_interval(Time div 4, tick),
        [receive tick -> ok end || _ <- lists:seq(1, 4)],
        timer:cancel(Timer)
    end),
    halt().

check(Name, Wait) ->
    {Start, Wall} = now_(),
    Wait(),
    {Passed, Shown} = now_(),
    io:format("~s ~f ~f~n", [Name, Passed - Start, Shown - Wall]).

now_() ->
    {erlang:monotonic_time() / erlang:convert_time_unit(1, second, native),
     erlang:system_time() / erlang:convert_time_unit(1, second, native)}.
